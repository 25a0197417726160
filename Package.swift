// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let strictC: [CSetting] = [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]

/// A C door: the only way to one C library, imported by exactly one module.
func door(_ name: String, links libraries: [String] = []) -> Target {
    .target(name: name, cSettings: strictC, linkerSettings: libraries.map { .linkedLibrary($0) })
}

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: path, swiftSettings: strict)
}

let package = Package(
    name: "kwik",
    products: [
        .executable(name: "kwikd", targets: ["kwikd"]),
        .executable(name: "kwik-gateway", targets: ["kwik-gateway"]),
        .executable(name: "kwikctl", targets: ["kwikctl"]),
        .executable(name: "kwik-simulate", targets: ["kwik-simulate"]),
    ],
    targets: [
        door("CLinux"),
        door("CSystemd", links: ["systemd"]),
        door("CNgtcp2", links: ["ngtcp2", "ngtcp2_crypto_gnutls"]),
        door("CGnuTLS", links: ["gnutls"]),
        door("CKwikMessages", links: ["protobuf-c"]),
        door("CIsal", links: ["isal"]),
        door("CXXHash", links: ["xxhash"]),
        door("CZstd", links: ["zstd"]),
        door("CJansson", links: ["jansson"]),
        .target(name: "CToml", cxxSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])],
                linkerSettings: [.linkedLibrary("tomlplusplus")]),

        module("KwikCore"),
        module("KwikLinux", ["KwikCore", "CLinux", "CSystemd"]),
        module("KwikTransport", ["KwikCore", "CNgtcp2", "CGnuTLS"]),
        module("KwikControl", ["KwikCore", "CKwikMessages"]),
        module("KwikConfiguration", ["KwikCore", "CToml"]),
        module("KwikTelemetry", ["KwikCore", "KwikLinux", "CJansson"]),
        module("KwikPrograms", ["KwikCore", "KwikLinux"]),
        module("KwikEndpoint", [
            "KwikCore", "KwikLinux", "KwikTransport", "KwikControl", "CIsal", "CXXHash", "CZstd",
        ]),
        module("KwikEngine", [
            "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux", "KwikTransport", "KwikControl",
            "KwikConfiguration", "KwikTelemetry",
        ]),
        module("KwikGateway", [
            "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux", "KwikTransport", "KwikControl",
            "KwikConfiguration", "KwikTelemetry",
        ]),
        program("kwikd", ["KwikEngine", "KwikConfiguration", "KwikLinux", "KwikTelemetry"]),
        program("kwik-gateway", ["KwikGateway", "KwikConfiguration", "KwikLinux", "KwikTelemetry"]),
        program("kwikctl", ["KwikLinux", "KwikTelemetry"]),

        .target(name: "Simulation", dependencies: ["KwikCore"], path: "Tests/Simulation",
                exclude: ["Mutants", "mutants.sh"], swiftSettings: strict),
        .executableTarget(name: "kwik-simulate", dependencies: ["Simulation", "KwikCore"],
                          path: "Tests/Simulate", swiftSettings: strict),
        .executableTarget(name: "kwik-echo-door", dependencies: ["KwikPrograms", "KwikLinux", "KwikCore"],
                          path: "Tests/Conformance/Door", swiftSettings: strict),
        tests("KwikCoreTests", ["KwikCore"]),
        tests("KwikLinuxTests", ["KwikLinux", "KwikCore"]),
        tests("KwikProgramsTests", ["KwikPrograms", "KwikLinux", "KwikCore"]),
        tests("KwikTransportTests", ["KwikTransport", "KwikCore"]),
        tests("KwikControlTests", ["KwikControl", "KwikCore"]),
        tests("KwikConfigurationTests", ["KwikConfiguration", "KwikCore"]),
        tests("KwikEndpointTests", ["KwikEndpoint", "KwikLinux", "KwikCore"]),
        tests("KwikGatewayTests", [
            "KwikGateway", "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux", "KwikConfiguration",
            "KwikControl", "KwikTelemetry", "KwikTransport",
        ]),
        tests("KwikEngineTests", [
            "KwikEngine", "KwikGateway", "KwikEndpoint", "KwikPrograms", "KwikCore", "KwikLinux",
            "KwikConfiguration", "KwikControl", "KwikTelemetry", "KwikTransport",
        ]),
        tests("KwikTelemetryTests", ["KwikTelemetry", "KwikLinux", "KwikCore"]),
        tests("SimulationTests", ["Simulation", "KwikCore"]),
    ],
    cLanguageStandard: .gnu11,
    cxxLanguageStandard: .cxx17
)
