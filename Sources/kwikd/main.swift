internal import KwikEngine

EngineProgram.run(CommandLine.arguments)
