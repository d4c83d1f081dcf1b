use super::*;

const ID: &str = "sha256:aa";

/// What is built of `text`, every image found under [`ID`] with a `PATH` of 100 bytes.
fn built(text: &str) -> Result<String, Refused> {
    let file = Dockerfile::read(text.as_bytes())?;
    let base = Base {
        id: ID.to_owned(),
        variables: [("PATH".to_owned(), 100)].into(),
    };
    let images = file.images();
    let bases = images.map(|(_, image)| (image.to_owned(), base.clone()));
    file.to_build(&bases.collect(), &[("l", "h")])
}

fn images(text: &str) -> Vec<String> {
    let file = Dockerfile::read(text.as_bytes()).unwrap();
    file.images().map(|(_, image)| image.to_owned()).collect()
}

#[test]
fn what_is_built_is_what_was_understood() {
    let table = [
        ("FROM scratch", "FROM scratch\nLABEL l=h\n"),
        (
            "\u{feff}# a comment\r\n\r\n  from Scratch\r\n",
            "FROM sha256:aa\nLABEL l=h\n",
        ),
        (
            "FROM scratch\nRUN a \\\n  # between\n\n  && b\nCMD [\"/x\"]",
            "FROM scratch\nLABEL l=h\nRUN a   && b\nCMD [\"/x\"]\n",
        ),
        (
            "FROM scratch\nRUN a \\  \n b \\",
            "FROM scratch\nLABEL l=h\nRUN a  b\n",
        ),
        (
            "# escape=`\nFROM scratch\nRUN a `\n b\\\nUSER x",
            "# escape=`\nFROM scratch\nLABEL l=h\nRUN a  b\\\nUSER x\n",
        ),
        (
            "FROM scratch\nLABEL l=other\nLABEL \"l\"=b",
            "FROM scratch\nLABEL l=h\nLABEL l=other\nLABEL l=h\nLABEL \"l\"=b\nLABEL l=h\n",
        ),
        (
            "FROM rust:1 AS Build\nFROM scratch\nCOPY --from=build --chown=1:1 /a /b\nCOPY --from=0 /a /c",
            "FROM sha256:aa AS Build\nLABEL l=h\nFROM scratch\nLABEL l=h\n\
             COPY --from=build --chown=1:1 /a /b\nCOPY --from=0 /a /c\n",
        ),
        (
            "FROM a/b:1 AS x\nFROM --platform=linux/amd64 x\nCOPY --chown=$U --from=c/d /a /b",
            "FROM sha256:aa AS x\nLABEL l=h\nFROM --platform=linux/amd64 x\nLABEL l=h\n\
             COPY --chown=$U --from=sha256:aa /a /b\n",
        ),
        (
            "FROM scratch\nADD a.tar [b].txt /x/\nADD [\"a b\", \"/x\"]",
            "FROM scratch\nLABEL l=h\nADD a.tar [b].txt /x/\nADD [\"a b\",\"/x\"]\n",
        ),
        (
            "FROM scratch\nRUN echo '# no comment' <<<here $((1<<2)) --flag",
            "FROM scratch\nLABEL l=h\nRUN echo '# no comment' <<<here $((1<<2)) --flag\n",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(built(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn images_are_named_with_the_values_of_their_arguments() {
    for (text, expected) in [
        ("ARG V=1\nFROM rust:$V", "rust:1"),
        (
            "ARG V=\"1.2\"\nARG I=rust:${V}-slim\nFROM ${I}",
            "rust:1.2-slim",
        ),
        ("ARG V\nFROM rust:${V:-3}", "rust:3"),
        ("ARG V= A=b/c\nFROM $A", "b/c"),
        (
            "FROM docker.io/library/rust:1@sha256:abc",
            "docker.io/library/rust:1@sha256:abc",
        ),
    ] {
        assert_eq!(images(text), [expected], "{text}");
    }
    let twice = "FROM a:1 AS x\nFROM a:1\nCOPY --from=x / /\nCOPY --from=b/c / /";
    assert_eq!(images(twice), ["a:1", "b/c"]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn what_reaches_out_or_into_others_is_refused() {
    for (line, text, expected) in [
        (1, "# syntax=evil/frontend\nFROM scratch", "# syntax="),
        (1, "#SYNTAX = evil/frontend\nFROM scratch", "# syntax="),
        (
            2,
            "# escape=`\n# syntax=evil/frontend\nFROM scratch",
            "# syntax=",
        ),
        (
            2,
            "FROM scratch\nADD http://example.com/x /x",
            "ADD takes files",
        ),
        (
            2,
            "FROM scratch\nadd a h\"tt\"p://h/x /x",
            "ADD takes files",
        ),
        (2, "FROM scratch\nADD h\\ttp\\://h /x", "ADD takes files"),
        (
            3,
            "FROM scratch\nARG U=http\nADD $U//h /x",
            "ADD takes files",
        ),
        (
            2,
            "FROM scratch\nADD \\\n git@github.com:a/b.git /x",
            "ADD takes files",
        ),
        (
            2,
            r#"FROM scratch
ADD ["\u0068ttp\u003a//h/x", "/x"]"#,
            "ADD takes files",
        ),
        (2, "FROM scratch\nADD [\"http://h/x\", /x]", "no JSON"),
        (
            2,
            "FROM scratch\nADD [\"http://h/x\",\"/\\ud800\"]",
            "no JSON",
        ),
        (2, "FROM scratch\nADD [\"http://h/x\",\"/x\"]x", "no JSON"),
        (2, "FROM scratch\nADD [\"http://h/x\"]", "where to put"),
        (2, "FROM scratch\nADD http://h/x", "where to put"),
        (
            2,
            "FROM scratch\nADD --keep-git-dir=true a /x",
            "no option --keep-git-dir",
        ),
        (2, "FROM scratch\nONBUILD ADD http://h/x /x", "ONBUILD"),
        (1, "FROM hersh/h/p:build-1", "the image of a program"),
        (1, "FROM docker.io/hersh/h/p", "the image of a program"),
        (2, "ARG P=hersh\nFROM $P/h/p", "the image of a program"),
        (1, "FROM HERSH/h/p", "the image of a program"),
        (1, "FROM sha256:0123", "could be the id"),
        (1, "FROM 3fa1", "could be the id"),
        (1, "FROM h\"ersh/h/p", "can't be read"),
        (1, "FROM h\\ersh/h/p", "can't be read"),
        (1, "FROM ${A#x}", "can't be read"),
        (1, "FROM a$", "needs a value"),
        (1, "FROM rust:$V", "needs a value"),
        (2, "FROM scratch\nFROM 0", "could be the id"),
        (
            2,
            "FROM scratch\nCOPY --from=hersh/h/p /state /x",
            "the image of a program",
        ),
        (
            2,
            "FROM scratch\nCOPY --fr\"om\"=hersh/h/p / /",
            "can't be read",
        ),
        (2, "FROM scratch\nCOPY --from=$X / /", "can't be read"),
        (
            2,
            "FROM scratch\nCOPY --chown=1\u{a0}--from=hersh/h/p / /",
            "the image of a program",
        ),
        (
            2,
            "FROM scratch\nCOPY --from=a/b --from=c/d / /",
            "one --from",
        ),
        (2, "FROM scratch\nCOPY --from=1 / /", "no stage 1"),
        (2, "FROM scratch\nCOPY --from=0 / /", "no stage 0"),
        (2, "FROM scratch AS a\nCOPY --from=A / /", "from itself"),
        (2, "FROM a:1 AS x\nFROM b:1 AS X", "two stages"),
        (
            2,
            "FROM scratch\nRUN --mount=type=secret,id=x cat",
            "options of RUN",
        ),
        (
            2,
            "FROM scratch\nRUN --security=insecure ls",
            "options of RUN",
        ),
        (
            2,
            "FROM scratch\nRUN <<EOF\nADD http://h /x\nEOF",
            "here-documents",
        ),
        (2, "FROM scratch\nCOPY 3<<-\"E\" /x\nE", "here-documents"),
        (1, "FROM --evil=1 a/b", "no option --evil"),
        (1, "FROM a/b AS b c", "write FROM"),
        (1, "FROM scratch AS ../x", "no name for a stage"),
        (
            2,
            "FROM scratch\nRUN a \\\\\nADD http://h /x",
            "two escape characters",
        ),
        (2, "FROM scratch\nRUN a\\ \\\n", "escape character"),
        (
            2,
            "FROM scratch\nRUN a\rADD http://h /x",
            "control character",
        ),
        (2, "FROM scratch\nRUN a\u{b}b", "control character"),
        (2, "FROM scratch\nCOOPY a b", "unknown instruction: COOPY"),
        (
            2,
            "FROM scratch\nADD\u{a0}http://h /x",
            "unknown instruction",
        ),
        (1, "RUN ls\nFROM scratch", "must be FROM"),
        (1, "# nothing\n", "no FROM"),
        (1, "", "no FROM"),
        (2, "# escape=\\\n# escape=`\nFROM scratch", "once"),
    ] {
        let refused = built(text).unwrap_err();
        assert!(refused.reason.contains(expected), "{text:?}: {refused}");
        assert_eq!(refused.line, line, "{text:?}: {refused}");
    }
}

#[test]
fn a_file_has_bounds() {
    let long = format!("FROM scratch\nRUN {}", "x".repeat(INSTRUCTION_BYTES_MAX));
    let many = format!("FROM scratch\n{}", "USER x\n".repeat(INSTRUCTIONS_MAX));
    let large = "#".repeat(DOCKERFILE_BYTES_MAX + 1);
    for (text, expected) in [
        (long, "longer than"),
        (many, "more than 1,000"),
        (large, "larger than"),
    ] {
        let refused = built(&text).unwrap_err();
        assert!(refused.reason.contains(expected), "{refused}");
    }
    let refused = Dockerfile::read(b"FROM scratch\nRUN \xff").unwrap_err();
    assert_eq!(
        (refused.line, refused.reason.as_str()),
        (2, "the text is not UTF-8")
    );
}

#[test]
fn values_grow_within_bounds() {
    let doubling = |keyword: &str, count: usize| {
        let lines = (0..count).map(|at| format!("{keyword} a{}=${{a{at}}}$a{at}\n", at + 1));
        format!("{keyword} a0=0123456789\n{}", lines.collect::<String>())
    };
    let ours = |text: &str| built(&format!("FROM a:1\n{text}"));
    assert!(ours(&doubling("ENV", 10)).is_ok());
    assert!(built(&format!("{}FROM a:1", doubling("ARG", 10))).is_ok());
    let long = "longer than 64 KiB";
    for (text, expected) in [
        (doubling("ENV", 30), long),
        (doubling("ARG", 30), long),
        (
            "ENV a \"0123456789\"\nENV \"b\"=$a$a$a\n".to_owned() + &"ENV b=$b$b$b\n".repeat(9),
            long,
        ),
        (format!("LABEL x={}", "$PATH".repeat(700)), long),
        (
            format!("LABEL x={}\n", "$PATH".repeat(10)).repeat(999),
            "more than 512 KiB",
        ),
        ("ENV b=${a//0/$a}".to_owned(), "replacing inside"),
        ("USER ${a:-${b/x/y}}".to_owned(), "replacing inside"),
    ] {
        let refused = ours(&text).unwrap_err();
        assert!(refused.reason.contains(expected), "{text}: {refused}");
    }
    // What a shell expands is its own affair, and a name that nobody sets stands for nothing.
    let shell = format!(
        "RUN echo {}\nUSER {}",
        "$PATH".repeat(9_000),
        "$x".repeat(9_000)
    );
    assert!(ours(&shell).is_ok());
    // What an image is called is expanded here.
    let bomb = doubling("ARG", 40) + "FROM $a40";
    assert!(
        Dockerfile::read(bomb.as_bytes())
            .unwrap_err()
            .reason
            .contains("needs a value")
    );
}
