use super::*;

const ID: &str = "sha256:aa";
const TREE: &str = "sha256:bb";

/// What is built of `text`, every image found under [`ID`] with a `PATH` of 100 bytes.
fn built(text: &str) -> Result<String, Refusals> {
    built_for(text, asked())
}

/// Nothing but the file, on a machine that is always the same.
fn asked() -> BuildInput {
    BuildInput {
        platform: Platform::AMD64,
        ..BuildInput::default()
    }
}

fn built_for(text: &str, asked: BuildInput) -> Result<String, Refusals> {
    let file = Dockerfile::read_for(text.as_bytes(), asked)?;
    let base = Base {
        id: ID.to_owned(),
        variables: [("PATH".to_owned(), 100)].into(),
        ..Base::default()
    };
    let images = file.images();
    let bases = images.map(|(_, image)| (image.to_owned(), base.clone()));
    let trees = file.modes().map(|(_, mode, _)| (mode, TREE.to_owned()));
    let written = file.to_build(&bases.collect(), &trees.collect(), &[("l", "h")])?;
    let lines = written.text.lines().count();
    assert_eq!(lines, written.head + written.steps.len(), "{written:?}");
    Ok(written.text)
}

/// The first refusal.
fn first(refusals: Result<String, Refusals>) -> DockerfileRefusal {
    refusals.unwrap_err().iter().next().unwrap().clone()
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
             COPY --chown=1:1 --from=build /a /b\nCOPY --from=0 /a /c\n",
        ),
        (
            "FROM a/b:1 AS x\nFROM --platform=linux/amd64 x\nCOPY --chown=$U --from=c/d /a /b",
            "FROM sha256:aa AS x\nLABEL l=h\nFROM x\nLABEL l=h\n\
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
        (
            1,
            "# syntax=docker/dockerfile-upstream:1\nFROM scratch",
            "# syntax=",
        ),
        (
            1,
            "# syntax=evil/docker/dockerfile:1\nFROM scratch",
            "# syntax=",
        ),
        (
            1,
            "# syntax=docker/dockerfile:1 evil/x\nFROM hersh/h/p",
            "# syntax=",
        ),
        (1, "FROM --platform=linux/arm64 scratch", "linux/amd64 only"),
        (
            1,
            "FROM --platform=windows/amd64 scratch",
            "linux/amd64 only",
        ),
        (1, "FROM --platform=$NONE scratch", "needs a value"),
        (
            2,
            "FROM scratch\nFROM --platform=$BUILDPLATFORM hersh/h/p",
            "the image of a program",
        ),
        (
            2,
            "FROM scratch\nCOPY --chmod=0755 --from=hersh/h/p / /",
            "together with --from",
        ),
        (
            2,
            "FROM scratch\nCOPY --link --from=hersh/h/p / /",
            "the image of a program",
        ),
        (2, "FROM scratch\nCOPY --link=http://h a /", "can't be read"),
        (
            2,
            "FROM scratch\nADD --link http://h/x /x",
            "ADD takes files",
        ),
        (2, "FROM scratch\nADD --chmod=755 a /x", "COPY --chmod"),
        (
            2,
            "FROM scratch\nADD --checksum=sha256:aa a /x",
            "no option --checksum",
        ),
        (
            2,
            &format!("FROM scratch\nCOPY {} /", "a ".repeat(100)),
            "at most 100 sources",
        ),
        (
            2,
            &format!("FROM scratch\nADD [{}\"/\"]", "\"a\",".repeat(100)),
            "at most 100 sources",
        ),
        (2, "FROM scratch\nCOPY --chmod=u+x a /", "octal digits"),
        (2, "FROM scratch\nCOPY --chmod=0o7 a /", "octal digits"),
        (2, "FROM scratch\nCOPY --chmod=+75 a /", "octal digits"),
        (2, "FROM scratch\nCOPY --chmod=$M a /", "octal digits"),
        (2, "FROM scratch\nCOPY --chmod=644 *.txt /", "plain paths"),
        (2, "FROM scratch\nCOPY --parents a/b /", "no --parents here"),
        (
            2,
            "FROM scratch\nCOPY --exclude=*.md a /",
            "no --exclude here",
        ),
        (
            2,
            "FROM scratch\nVOLUME /data",
            "VOLUME /data: what a program keeps",
        ),
        (
            2,
            "FROM scratch\nVOLUME [\"/state\", \"/data\"]",
            "VOLUME /data",
        ),
        (
            2,
            "FROM scratch\nVOLUME /state/../etc",
            "VOLUME /state/../etc",
        ),
        (2, "FROM scratch\nVOLUME /stateful", "VOLUME /stateful"),
        (2, "FROM scratch\nVOLUME state", "VOLUME state"),
        (2, "FROM scratch\nVOLUME /tmp/$X", "VOLUME /tmp/$X"),
        (2, "FROM scratch\nVOLUME [/state]", "no JSON"),
        (2, "FROM scratch\nRUN echo 1<<20", "put blanks around"),
        (
            2,
            "FROM scratch\nRUN cat << EOF <<-EOF",
            "here-document <<-EOF",
        ),
        (
            2,
            "FROM scratch\nRUN --mount=type=cache,from=a,target=/c x",
            "begins with files",
        ),
        (
            2,
            "FROM scratch\nRUN --mount=type=cache x",
            "needs a target",
        ),
        (
            2,
            "FROM scratch\nRUN --mount=from=hersh/h/p,target=/x ls",
            "the image of a program",
        ),
        (
            2,
            "FROM scratch\nRUN --mount=source=$X,target=/x ls",
            "plain paths",
        ),
        (
            2,
            "FROM scratch\nRUN --mount=type=ssh git clone x",
            "gets no ssh",
        ),
        (2, "FROM scratch\nCOPY --from=1 / /", "no stage 1"),
        (2, "FROM scratch\nCOPY --from=0 / /", "no stage 0"),
        (2, "FROM scratch AS a\nCOPY --from=A / /", "from itself"),
        (2, "FROM a:1 AS x\nFROM b:1 AS X", "two stages"),
        (
            2,
            "FROM scratch\nRUN --mount=type=secret,id=x cat",
            "gets no secret",
        ),
        (
            2,
            "FROM scratch\nRUN --security=insecure ls",
            "no option --security",
        ),
        (
            2,
            "FROM scratch\nRUN <<EOF\nADD http://h /x\nEOF",
            "here-document <<",
        ),
        (2, "FROM scratch\nCOPY 3<<-\"E\" /x\nE", "here-document <<"),
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
        let refused = first(built(text));
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
        let refused = first(built(&text));
        assert!(refused.reason.contains(expected), "{refused}");
    }
    let refused = Dockerfile::read(b"FROM scratch\nRUN \xff").unwrap_err();
    let refused = refused.iter().next().unwrap();
    assert_eq!(
        (refused.line, refused.reason.as_str()),
        (2, "the text is not UTF-8")
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn values_grow_within_bounds() {
    let doubling = |keyword: &str, count: usize| {
        let lines = (0..count).map(|at| format!("{keyword} a{}=${{a{at}}}$a{at}\n", at + 1));
        format!("{keyword} a0=0123456789\n{}", lines.collect::<String>())
    };
    let ours = |text: &str| built(&format!("FROM a:1\n{text}"));
    assert!(ours(&doubling("ENV", 10)).is_ok());
    assert!(built(&format!("{}FROM a:1", doubling("ARG", 10))).is_ok());
    let (busy, long) = ("more than a second", "longer than 64 KiB");
    for (text, expected) in [
        (doubling("ENV", 30), busy),
        (doubling("ARG", 30), busy),
        (
            "ENV a \"0123456789\"\nENV \"b\"=$a$a$a\n".to_owned() + &"ENV b=$b$b$b\n".repeat(9),
            busy,
        ),
        (format!("LABEL x={}", "$PATH".repeat(700)), long),
        (
            format!("LABEL x={}\n", "$PATH".repeat(10)).repeat(999),
            "more than ten seconds",
        ),
        // The lines of an attack: 17 of these kept an engine busy for 45 s.
        (
            format!("ENV a={}\n", "x".repeat(59_000)),
            "more than a second",
        ),
        (
            format!("LABEL \"a {}\"=b\n", "x".repeat(59_000)),
            "more than a second",
        ),
        (
            format!("ARG a={}\n", "x".repeat(20_000)).repeat(40),
            "more than ten seconds",
        ),
        (
            format!("ENV {}\n", "a=b ".repeat(3_000)),
            "more than a second",
        ),
        (
            (0..999)
                .map(|at| format!("ENV a{at}=b c{at}=d\n"))
                .collect(),
            "more than ten seconds",
        ),
        (
            format!("CMD {}\n", "x".repeat(50_000)) + &"USER x\n".repeat(990),
            "more than ten seconds",
        ),
        (
            format!("ARG a={}\n", "x".repeat(4_000)) + &"RUN x\n".repeat(990),
            "more than ten seconds",
        ),
        ("ENV b=${a//0/$a}".to_owned(), "replacing inside"),
        ("USER ${a:-${b/x/y}}".to_owned(), "replacing inside"),
    ] {
        let refused = first(ours(&text));
        assert!(refused.reason.contains(expected), "{text}: {refused}");
    }
    // What people write is far from any of that.
    let usual = (0..60).map(|at| {
        format!(
            "ENV NAME_{at}={0}\nLABEL org.{at}=\"{0}\"\n",
            "x".repeat(99)
        )
    });
    let usual = usual.collect::<String>() + &format!("RUN {}\n", "x".repeat(3_000)).repeat(60);
    assert!(ours(&usual).is_ok(), "{:?}", ours(&usual));
    // What a shell expands is its own affair, and a name that nobody sets stands for nothing.
    let shell = format!(
        "RUN echo {}\nUSER {}",
        "$PATH".repeat(9_000),
        "$x".repeat(9_000)
    );
    assert!(ours(&shell).is_ok());
    // What an image is called is expanded here.
    let bomb = doubling("ARG", 40) + "FROM $a40";
    assert!(first(built(&bomb)).reason.contains("needs a value"));
}

#[test]
fn every_refusal_of_a_file_is_told_at_once() {
    let text = "# syntax=evil/x\nFROM --evil=1 a/b AS one\nRUN --mount=type=secret,id=c x\n\
                RUN <<EOT\necho one\nFROM two\nEOT\nADD http://h/x /x\nCOPY --from=one a b\n\
                COOPY a b\nVOLUME /data\nFROM hersh/h/p AS two\nCOPY --from=two a b";
    let refusals = built(text).unwrap_err();
    let lines: Vec<usize> = refusals.iter().map(|refused| refused.line).collect();
    // Neither the text of the here-document nor the stages of refused lines are told of.
    assert_eq!(lines, [1, 2, 3, 4, 8, 9, 10, 11, 12, 13], "{refusals}");
    let told = refusals.to_string();
    assert!(
        told.starts_with("Dockerfile, line 1: '# syntax='"),
        "{told}"
    );
    assert!(told.contains("; and line 8: ADD takes files"), "{told}");
    let many = format!("FROM scratch\n{}", "NOTHING\n".repeat(900));
    assert_eq!(built(&many).unwrap_err().iter().count(), REFUSALS_MAX);
}

#[test]
fn what_changes_nothing_is_passed_over_with_a_note() {
    for (text, expected, note) in [
        (
            "# syntax=docker/dockerfile:1.7-labs\nFROM scratch",
            "FROM scratch\nLABEL l=h\n",
            "line 1: '# syntax=' is passed over",
        ),
        (
            "#syntax = docker.io/docker/dockerfile@sha256:ab\nFROM scratch",
            "FROM scratch\nLABEL l=h\n",
            "line 1: '# syntax=' is passed over",
        ),
        (
            "FROM scratch\nCOPY --link --chown=1:1 a b /c/\nADD --link=true a /b",
            "FROM scratch\nLABEL l=h\nCOPY --chown=1:1 a b /c/\nADD a /b\n",
            "line 2: --link is passed over",
        ),
        (
            "FROM a:1 AS x\nFROM scratch\nCOPY --from=x --link=false [\"a b\", \"/c\"]",
            "FROM sha256:aa AS x\nLABEL l=h\nFROM scratch\nLABEL l=h\nCOPY --from=x [\"a b\", \"/c\"]\n",
            "line 3: --link is passed over",
        ),
        (
            "FROM scratch\nRUN --mount=type=cache,target=/c,sharing=locked --mount=type=tmpfs,dst=/t x && y",
            "FROM scratch\nLABEL l=h\nRUN x && y\n",
            "line 2: --mount=type=cache is passed over",
        ),
        (
            "FROM a:1 AS s\nFROM scratch\nRUN --mount=target=/x --mount=from=s,src=/a,target=b,ro [\"z\"]",
            "FROM sha256:aa AS s\nLABEL l=h\nFROM scratch\nLABEL l=h\nCOPY . /x\n\
             COPY --from=s /a b\nRUN [\"z\"]\n",
            "line 3: --mount=type=bind is done by COPY",
        ),
        (
            "FROM scratch\nEXPOSE 80 81/udp\nEXPOSE 1-65535\nEXPOSE $PORT",
            "FROM scratch\nLABEL l=h\nEXPOSE 80 81/udp\n",
            "line 3: EXPOSE of a range",
        ),
        (
            "FROM scratch\nVOLUME /tmp /state/a//b/./c/\nVOLUME [\"/state\"]",
            "FROM scratch\nLABEL l=h\n",
            "line 2: VOLUME is passed over",
        ),
        (
            "FROM scratch\nHEALTHCHECK NONE\nHEALTHCHECK --timeout=3s CMD curl -f http://localhost/healthz || exit 1",
            "FROM scratch\nLABEL l=h\nHEALTHCHECK NONE\n\
             HEALTHCHECK --timeout=3s CMD curl -f http://localhost/healthz || exit 1\n",
            "line 3: HEALTHCHECK is not carried out; write [liveness] kind = \"http\", path = \"/healthz\" in",
        ),
        (
            "FROM scratch\nHEALTHCHECK CMD pg_isready",
            "FROM scratch\nLABEL l=h\nHEALTHCHECK CMD pg_isready\n",
            "line 2: HEALTHCHECK is not carried out; [liveness] in hersh.toml says",
        ),
    ] {
        assert_eq!(built(text).as_deref(), Ok(expected), "{text}");
        let file = Dockerfile::read(text.as_bytes()).unwrap();
        let notes: Vec<String> = file.notes().iter().map(ToString::to_string).collect();
        assert!(notes[0].contains(note), "{notes:?}");
    }
}

#[test]
fn shifts_are_no_here_documents() {
    for line in [
        "RUN echo \"block size is $(( 1 << 20 ))\"",
        "RUN python3 -c \"print(1 << 3)\"",
        "RUN echo 2<< 1",
        "ENV A=<<EOF",
    ] {
        let expected = format!("FROM scratch\nLABEL l=h\n{line}\n");
        assert_eq!(built(&format!("FROM scratch\n{line}")), Ok(expected));
    }
}

#[test]
fn variables_of_the_platform_have_values_once_declared() {
    for (text, expected) in [
        (
            "FROM --platform=$BUILDPLATFORM scratch AS b\nARG TARGETOS\nARG TARGETARCH X=1 TARGETVARIANT",
            "FROM scratch AS b\nLABEL l=h\nARG TARGETOS=linux\nARG TARGETARCH=amd64 X=1 TARGETVARIANT=\n",
        ),
        (
            "FROM --platform=${TARGETPLATFORM:-linux/arm64} scratch\nARG TARGETARCH=own\nARG A=\"b TARGETARCH c\"",
            "FROM scratch\nLABEL l=h\nARG TARGETARCH=own\nARG A=\"b TARGETARCH c\"\n",
        ),
        (
            "ARG BASE=rust-$TARGETARCH\nFROM $BASE\nARG BASE\nRUN echo $BASE",
            "ARG TARGETARCH=amd64\nARG BASE=rust-$TARGETARCH\nFROM sha256:aa\nLABEL l=h\nARG BASE\nRUN echo $BASE\n",
        ),
        (
            "FROM --platform=linux/x86_64 scratch\nFROM --platform=amd64 scratch",
            "FROM scratch\nLABEL l=h\nFROM scratch\nLABEL l=h\n",
        ),
    ] {
        assert_eq!(built(text).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(images("FROM rust-$BUILDOS"), ["rust-linux"]);
}

#[test]
fn a_build_ends_with_the_stage_that_is_asked_for() {
    let text = "FROM scratch AS base\nUSER 1\nFROM base AS Prod\nUSER 2\nFROM prod AS dev\nRUN --mount=x y";
    let with = |target: &str| BuildInput {
        target: Some(target.to_owned()),
        ..asked()
    };
    let prod = "FROM scratch AS base\nLABEL l=h\nUSER 1\nFROM base AS Prod\nLABEL l=h\nUSER 2\n";
    for target in ["prod", "PROD", "1"] {
        assert_eq!(built_for(text, with(target)).as_deref(), Ok(prod));
    }
    for target in ["", "3", "+1", "nobody", "prod\nADD http://h/x /x", "a AS b"] {
        let refused = first(built_for(text, with(target)));
        assert_eq!(refused.line, 5, "{refused}");
        assert!(
            refused.reason.contains("there are: base, prod, dev"),
            "{refused}"
        );
    }
    let stage = "FROM scratch AS a\nARG TARGETSTAGE";
    let built = built_for(stage, with("A")).unwrap();
    assert!(built.ends_with("ARG TARGETSTAGE=A\n"), "{built}");
}

#[test]
fn values_that_are_asked_for_stand_in_for_defaults() {
    let with = |args: &[(&str, &str)]| BuildInput {
        args: args
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..asked()
    };
    let named = |text: &str, args: &[(&str, &str)]| {
        let file = Dockerfile::read_for(text.as_bytes(), with(args))?;
        Ok::<_, Refusals>(
            file.images()
                .map(|(_, name)| name.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let text = "ARG V=1\nARG I=rust:$V\nARG W\nFROM $I\nFROM a:${W:-0}";
    assert_eq!(
        named(text, &[("V", "2"), ("W", "3")]).unwrap(),
        ["rust:2", "a:3"]
    );
    assert_eq!(named(text, &[("I", "b/c")]).unwrap(), ["b/c", "a:0"]);
    // What is not declared before the first stage is not known there.
    assert!(named("FROM $V", &[("V", "b/c")]).is_err());
    // The engine gets the values apart from the text, so they can say nothing there.
    let text = "ARG V=1\nFROM a:1\nARG V\nARG TARGETARCH\nUSER $V";
    let hostile = [("V", "2\nADD http://h/x /x"), ("TARGETARCH", "x")];
    let built = built_for(text, with(&hostile)).unwrap();
    assert_eq!(
        built,
        "ARG V=1\nFROM sha256:aa\nLABEL l=h\nARG V\nARG TARGETARCH\nUSER $V\n"
    );
    for name in [
        "hersh/h/p",
        "sha256:aa",
        "$A",
        "a\nADD http://h/x /x",
        "a AS b",
    ] {
        assert!(
            named("ARG I=a:1\nFROM $I", &[("I", name)]).is_err(),
            "{name:?}"
        );
    }
    // They count for what a line can become, declared or not.
    let long = "x".repeat(10_000);
    let text = format!("FROM a:1\nLABEL x={}", "$HTTP_PROXY".repeat(7));
    assert!(built_for(&text, with(&[])).is_ok());
    let refused = first(built_for(&text, with(&[("HTTP_PROXY", &long)])));
    assert!(refused.reason.contains("longer than 64 KiB"), "{refused}");
}

#[test]
fn a_mode_is_taken_from_a_tree_that_has_it() {
    let text = "FROM scratch\nCOPY --chmod=755 a b/*.sh /c/\nCOPY --chown=1:1 --chmod=0640 [\"a b\", \"/x\"]";
    assert_eq!(
        built(text).as_deref(),
        Ok(
            "FROM scratch\nLABEL l=h\nCOPY --from=sha256:bb a b/*.sh /c/\n\
            COPY --chown=1:1 --from=sha256:bb [\"a b\", \"/x\"]\n"
        )
    );
    let file = Dockerfile::read(text.as_bytes()).unwrap();
    let modes: Vec<_> = file.modes().collect();
    // A whole tree may be asked for with the mode that folders have in any case.
    assert_eq!(
        modes,
        [(2, 0o755, &[][..]), (3, 0o640, &["a b".to_owned()][..])]
    );
}

#[test]
fn a_step_stands_for_the_line_that_people_wrote() {
    let text = "# escape=`\nARG A=$TARGETOS\n\nFROM a:1 AS x\nRUN one `\n two\nLABEL a=b\nVOLUME /tmp\nUSER 1";
    let file = Dockerfile::read_for(text.as_bytes(), asked()).unwrap();
    let bases = [("a:1".to_owned(), Base::default())].into();
    let written = file
        .to_build(&bases, &BTreeMap::new(), &[("l", "h")])
        .unwrap();
    let lines: Vec<Option<usize>> = (0..=10).map(|line| written.line(line)).collect();
    let (none, some) = (None, Some);
    assert_eq!(
        lines,
        [
            none,
            none,
            none,
            some(2),
            some(4),
            none,
            some(5),
            some(7),
            none,
            some(9),
            none
        ]
    );
    let shown: Vec<&str> = written
        .steps
        .iter()
        .flatten()
        .map(|it| it.text.as_str())
        .collect();
    assert_eq!(
        shown,
        [
            "ARG A=$TARGETOS",
            "FROM a:1 AS x",
            "RUN one  two",
            "LABEL a=b",
            "USER 1"
        ]
    );
}
