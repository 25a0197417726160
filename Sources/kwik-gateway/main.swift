internal import KwikGateway

GatewayProgram.run(CommandLine.arguments)
