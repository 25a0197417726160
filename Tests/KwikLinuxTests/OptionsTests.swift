import KwikLinux
import Testing

extension LinuxTests {
    @Suite struct OptionsTests {
        private let declared: [Options.Declaration] = [
            .init("json", letter: "j"), .init("config", letter: "c", takesValue: true),
            .init("verbose", letter: "v"), .init("version"),
        ]

        private func refusal(_ arguments: [String]) -> String? {
            do throws(OptionError) {
                _ = try Options(arguments, declared: declared)
                return nil
            } catch {
                return error.description
            }
        }

        @Test func optionsAreReadInBothForms() throws {
            let line = ["--json", "-c", "a", "--config=b", "--config", "c=d", "x"]
            let options = try Options(line, declared: declared)
            #expect(options.has("json") && options.has("config") && !options.has("verbose"))
            #expect(options.values("config") == ["a", "b", "c=d"])
            #expect(options.value("config") == "c=d")
            #expect(options.value("json") == nil)
            #expect(options.operands == ["x"])
        }

        @Test func lettersMayStandTogether() throws {
            let options = try Options(["-vjcfile", "-c", "-v", "y"], declared: declared)
            #expect(options.has("json") && options.has("verbose"))
            #expect(options.values("config") == ["file", "-v"])
            #expect(options.operands == ["y"])
        }

        @Test func optionsEndAtTheFirstOperandOrAtTwoDashes() throws {
            let run = try Options(["-v", "run", "curl", "--json", "-x"], declared: declared)
            #expect(run.operands == ["run", "curl", "--json", "-x"] && !run.has("json"))
            let dashes = try Options(["--", "--json"], declared: declared)
            #expect(dashes.operands == ["--json"] && !dashes.has("json"))
            #expect(try Options(["-"], declared: declared).operands == ["-"])
            #expect(try Options([], declared: declared).operands == [])
            #expect(try Options(["--config="], declared: declared).value("config") == "")
        }

        @Test(arguments: [
            (["--jso"], "unknown option --jso"),
            (["--ver"], "unknown option --ver"),
            (["--conf=a"], "unknown option --conf"),
            (["--conf"], "unknown option --conf"),
            (["--js=1"], "unknown option --js"),
            (["--nothing"], "unknown option --nothing"),
            (["--nothing=1"], "unknown option --nothing"),
            (["-vx"], "unknown option -x"),
            (["-v", "--config"], "option --config needs a value"),
            (["-vc"], "option -c needs a value"),
            (["--json=1"], "option --json takes no value"),
        ])
        func mistakesAreNamed(arguments: [String], message: String) { #expect(refusal(arguments) == message) }
    }
}
