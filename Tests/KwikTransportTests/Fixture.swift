/// Certificates of the tests, valid from 2020 to 2119: ECDSA P-256, made with certtool. `gateway`: DNS
/// gateway.test and address 192.0.2.1, for servers; `engine` and `stranger`: for clients, the latter's and
/// no other's from the foreign authority. Their keys guard nothing.
enum Fixture {
    /// SHA-256 of gateway's SubjectPublicKeyInfo, as OpenSSL computes it.
    static let gatewayPin = "507b983b1a96eac5ee1eabd955f70030add8fde9f17b3db9a53a758f2160cc8e"

    static let authority = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIBgTCCASigAwIBAgIUdFZKJZXjjQA/TgjoWSVSMPjbMCYwCgYIKoZIzj0EAwIw
        HjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBa
        GA8yMTE5MTIzMTAwMDAwMFowHjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0
        eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM33RXgDqK+O4LPCzDjaXtpKOOCO
        w23/FHVvvyYZBNZg+7aYdatnzQsIBpaYFBvWWnfPyODX8g9xRJADiUj8FhajQjBA
        MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMB0GA1UdDgQWBBTqfsq8
        bXGP5P8fgXd5EEUwpGMgkDAKBggqhkjOPQQDAgNHADBEAiA1KKaLmyadf52KLOa8
        z7khidEp3tTKydRZwRsIoguNdQIgb/Vb4ux1zi4IxllNP5F2RUk9NKOpzk92to2u
        2nycuT4=
        -----END CERTIFICATE-----
        """.utf8)

    static let foreignAuthority = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIBfjCCASSgAwIBAgIUXpAPSUvnk9NhqbvlkpJxqvz32IUwCgYIKoZIzj0EAwIw
        HDEaMBgGA1UEAxMRRm9yZWlnbiBhdXRob3JpdHkwIBcNMjAwMTAxMDAwMDAwWhgP
        MjExOTEyMzEwMDAwMDBaMBwxGjAYBgNVBAMTEUZvcmVpZ24gYXV0aG9yaXR5MFkw
        EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZyn4QL50mIYY2E8StGFt6oE8kQnBwQL3
        k+gYB9xcbdP2b9LyssjscqIlS9NDg9h3Upg8AkXN9t1SXpHOWxDsU6NCMEAwDwYD
        VR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwHQYDVR0OBBYEFFI3Mbd1IqWA
        M0ngZl4m5K3ZtTj6MAoGCCqGSM49BAMCA0gAMEUCIQCUPDJtaLngoVDfCvAcAt3f
        KIURXGmTqniKsX41D9oT4QIgBIFaCAnCw+FMf0GD9GqJh6TxO6TEDKK/JmXAdo1T
        Qrg=
        -----END CERTIFICATE-----
        """.utf8)

    static let gateway = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIByjCCAXCgAwIBAgIUDeSf1HPpzJCTU/Mh5tzXBBJ6lJIwCgYIKoZIzj0EAwIw
        HjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBa
        GA8yMTE5MTIzMTAwMDAwMFowEjEQMA4GA1UEAxMHZ2F0ZXdheTBZMBMGByqGSM49
        AgEGCCqGSM49AwEHA0IABNhJWFvN5t8/ise+yybbDLDn2kxaq7vFG66tvZGwF8x/
        5tdVEr2pbGXAwanKv7k0H0HnpbRNkQLiX032m6sIO26jgZUwgZIwDAYDVR0TAQH/
        BAIwADAdBgNVHREEFjAUggxnYXRld2F5LnRlc3SHBMAAAgEwEwYDVR0lBAwwCgYI
        KwYBBQUHAwEwDgYDVR0PAQH/BAQDAgeAMB0GA1UdDgQWBBTA30rXOJZT0DKbpjAZ
        y60ukjC/yjAfBgNVHSMEGDAWgBTqfsq8bXGP5P8fgXd5EEUwpGMgkDAKBggqhkjO
        PQQDAgNIADBFAiAsSSHdRv1a50ilQVP6eJ35YNUF/aeWBmlaShsUQykB+gIhALEE
        BK3N5VUDKq5KoCsTrLt7TYcab122uWWG4fWbl6mU
        -----END CERTIFICATE-----
        """.utf8)

    static let gatewayKey = Array(
        """
        -----BEGIN EC PRIVATE KEY-----
        MHgCAQEEIQCyla7IIeAP/s8Hfwn513gbWHAxFgbLaxKo3vzV3u5rx6AKBggqhkjO
        PQMBB6FEA0IABNhJWFvN5t8/ise+yybbDLDn2kxaq7vFG66tvZGwF8x/5tdVEr2p
        bGXAwanKv7k0H0HnpbRNkQLiX032m6sIO24=
        -----END EC PRIVATE KEY-----
        """.utf8)

    static let engine = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIBqTCCAU6gAwIBAgIUBbTQv5nWEQosAYDqI6fRGnl11DswCgYIKoZIzj0EAwIw
        HjEcMBoGA1UEAxMTS3dpayB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBa
        GA8yMTE5MTIzMTAwMDAwMFowETEPMA0GA1UEAxMGZW5naW5lMFkwEwYHKoZIzj0C
        AQYIKoZIzj0DAQcDQgAEIbvJEgLrvJHMrAfS3lEjEGeJ3G2LudjmJBMqgNfx8P6f
        FNkM2gdM+g4708XeEkW3fupuJxuadBgV76lur8fxhqN1MHMwDAYDVR0TAQH/BAIw
        ADATBgNVHSUEDDAKBggrBgEFBQcDAjAOBgNVHQ8BAf8EBAMCB4AwHQYDVR0OBBYE
        FAzOYE/fLo8UkQWVMOAylEla6eN3MB8GA1UdIwQYMBaAFOp+yrxtcY/k/x+Bd3kQ
        RTCkYyCQMAoGCCqGSM49BAMCA0kAMEYCIQDtINL+3/xsLk3bQZj1uvSHaTo5W1ep
        DCL7uLSnaMmd9QIhALsqWIYJwI5Tyt3S4CFFpshpuSiW1LIZG+NZdTgZul84
        -----END CERTIFICATE-----
        """.utf8)

    static let engineKey = Array(
        """
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIBpwyL4sQ66JyAqWYlr6wgvscpx9P5GAuZbgVSEmszGaoAoGCCqGSM49
        AwEHoUQDQgAEIbvJEgLrvJHMrAfS3lEjEGeJ3G2LudjmJBMqgNfx8P6fFNkM2gdM
        +g4708XeEkW3fupuJxuadBgV76lur8fxhg==
        -----END EC PRIVATE KEY-----
        """.utf8)

    static let stranger = Array(
        """
        -----BEGIN CERTIFICATE-----
        MIIBqDCCAU6gAwIBAgIUPt6AAoGkMsf4D5eMFUZdcvP5S9YwCgYIKoZIzj0EAwIw
        HDEaMBgGA1UEAxMRRm9yZWlnbiBhdXRob3JpdHkwIBcNMjAwMTAxMDAwMDAwWhgP
        MjExOTEyMzEwMDAwMDBaMBMxETAPBgNVBAMTCHN0cmFuZ2VyMFkwEwYHKoZIzj0C
        AQYIKoZIzj0DAQcDQgAEKA2uJ8be+1aD84nFUF17LEC9YnnRewoATJZEvkc9oYzW
        4jKaXnQWrKnX0O2wp4Nm/VOB1NwVpcfFz1xBMLY27KN1MHMwDAYDVR0TAQH/BAIw
        ADATBgNVHSUEDDAKBggrBgEFBQcDAjAOBgNVHQ8BAf8EBAMCB4AwHQYDVR0OBBYE
        FL+QolIS3c8j3x+PP+Ym/96tB3tyMB8GA1UdIwQYMBaAFFI3Mbd1IqWAM0ngZl4m
        5K3ZtTj6MAoGCCqGSM49BAMCA0gAMEUCIQDOzRcoKSHNDVSZ9yVSqw3D4c/9+ct9
        p6NWJU9mSlpT7QIgNYdGl18T0VMpk8MKLaE4fFT1nixMKb/j/yXCCo7hNR8=
        -----END CERTIFICATE-----
        """.utf8)

    static let strangerKey = Array(
        """
        -----BEGIN EC PRIVATE KEY-----
        MHgCAQEEIQDmbooZJADrIO4Ksuca6xbLH1ES6wtxL03ijx7NpurapqAKBggqhkjO
        PQMBB6FEA0IABCgNrifG3vtWg/OJxVBdeyxAvWJ50XsKAEyWRL5HPaGM1uIyml50
        Fqyp19DtsKeDZv1TgdTcFaXHxc9cQTC2Nuw=
        -----END EC PRIVATE KEY-----
        """.utf8)
}
