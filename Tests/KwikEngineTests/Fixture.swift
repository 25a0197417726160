/// Certificates of the tests, valid from 2020 to 2119: an authority, and servers a.test and b.test with one
/// key, which guards nothing.
enum Fixture {
    static let authority = """
        -----BEGIN CERTIFICATE-----
        MIIBYDCCAQagAwIBAgICEAEwCgYIKoZIzj0EAwIwHjEcMBoGA1UEAwwTS3dpayB0
        ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTE5MTIzMTAwMDAwMFow
        HjEcMBoGA1UEAwwTS3dpayB0ZXN0IGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqG
        SM49AwEHA0IABArXahe7m5d6g40YfduPe6CAQTaBOLAbZCyzc7pgGnPem3UpYUck
        TKWKSU47M6+5AzzWkLHmgp2IlRMuGHpITC2jMjAwMA8GA1UdEwEB/wQFMAMBAf8w
        HQYDVR0OBBYEFIvqQNorD2s0JKcYnjr7fEYu2A2DMAoGCCqGSM49BAMCA0gAMEUC
        ICREOeL9Ng7IZx2YQcyoNHftjAZnAhaPO3xJEvToLzAqAiEAoqaUYvIfThOfc44b
        EwB9pxygQjgWD/0MZrxQYL23Yo8=
        -----END CERTIFICATE-----

        """

    static let a = """
        -----BEGIN CERTIFICATE-----
        MIIBhDCCASqgAwIBAgICEAIwCgYIKoZIzj0EAwIwHjEcMBoGA1UEAwwTS3dpayB0
        ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTE5MTIzMTAwMDAwMFow
        ETEPMA0GA1UEAwwGYS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzqTO
        s5k8SjkN5d+AJwS1Zc3fLcFzDpBtIoFBV56+TQpdSY+VQfP5jDAg0CW3UtuH4K5H
        BNVotqYgz9pyRQUP96NjMGEwDAYDVR0TAQH/BAIwADARBgNVHREECjAIggZhLnRl
        c3QwHwYDVR0jBBgwFoAUi+pA2isPazQkpxieOvt8Ri7YDYMwHQYDVR0OBBYEFFPI
        rZ+fnGIOlpRcP+67x2E2rZ3dMAoGCCqGSM49BAMCA0gAMEUCIH9UV/WcP/p1d8Ur
        YmWC66VDrpYirhn/AsVPD6REMAvuAiEAiGyb885ATdVGF9UF5FmExZjuSzYN5DfU
        qMaBXlbxVls=
        -----END CERTIFICATE-----

        """

    static let b = """
        -----BEGIN CERTIFICATE-----
        MIIBhTCCASqgAwIBAgICEAMwCgYIKoZIzj0EAwIwHjEcMBoGA1UEAwwTS3dpayB0
        ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTE5MTIzMTAwMDAwMFow
        ETEPMA0GA1UEAwwGYi50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzqTO
        s5k8SjkN5d+AJwS1Zc3fLcFzDpBtIoFBV56+TQpdSY+VQfP5jDAg0CW3UtuH4K5H
        BNVotqYgz9pyRQUP96NjMGEwDAYDVR0TAQH/BAIwADARBgNVHREECjAIggZiLnRl
        c3QwHwYDVR0jBBgwFoAUi+pA2isPazQkpxieOvt8Ri7YDYMwHQYDVR0OBBYEFFPI
        rZ+fnGIOlpRcP+67x2E2rZ3dMAoGCCqGSM49BAMCA0kAMEYCIQCOEXnnTZxJbEj7
        0NFla3FK/UaBuNNaS1rmcQbBXLColQIhAKByb+PK/k6zkY6EPnhe34dWZ7INe935
        HWd5/a/rg8zX
        -----END CERTIFICATE-----

        """

    static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrTXphHU2uE2KzVdx
        T1dXlSIzXVo15iM92tB+FKWQie2hRANCAATOpM6zmTxKOQ3l34AnBLVlzd8twXMO
        kG0igUFXnr5NCl1Jj5VB8/mMMCDQJbdS24fgrkcE1Wi2piDP2nJFBQ/3
        -----END PRIVATE KEY-----

        """
}
