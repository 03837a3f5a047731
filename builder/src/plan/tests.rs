//! Dockerfiles through both phases of planning.

use dockerfile::parse;
use oci::Platform;
use oci::config::Config;

use super::expand::{Declared, ExpandedStage, StageInput, expand_stage};
use super::graph::GraphOptions;
use super::{
    Base, BuildArgs, Consent, CopyFrom, Graph, ImageName, ImageRequest, NamedContexts, Names, Op,
    PlanError,
};
use crate::plan::named::NamedContext;

fn args(pairs: &[(&str, &str)]) -> BuildArgs {
    BuildArgs::new(
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    )
}

fn graph(text: &str, target: &str, args: &BuildArgs) -> Result<Graph, PlanError> {
    let parsed = parse(text);
    assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
    let platform: Platform = "linux/amd64".parse().unwrap();
    let options = GraphOptions {
        target,
        args,
        build_platform: &platform,
        target_platform: &platform,
        named: &NamedContexts::default(),
        consent: Consent::default(),
    };
    Graph::new(&parsed.dockerfile, &options)
}

/// Plans the last stage of `text` on a base with `base` as its configuration.
fn expand(text: &str, base: Config, given: &[(&str, &str)]) -> Result<ExpandedStage, PlanError> {
    let args = args(given);
    let graph = graph(text, "", &args)?;
    let parsed = parse(text);
    let platform: Platform = "linux/amd64".parse().unwrap();
    expand_stage(&StageInput {
        names: Names {
            file: &parsed.dockerfile,
            named: &NamedContexts::default(),
            platform: &platform,
        },
        stage: graph.stages.last().unwrap(),
        global: &graph.global,
        args: &args,
        consent: Consent::default(),
        base,
        author: None,
        declared: Declared::default(),
        open: false,
    })
}

fn image(reference: &str, platform: &str) -> ImageRequest {
    ImageRequest {
        name: ImageName::Reference(reference.parse().unwrap()),
        platform: platform.parse().unwrap(),
    }
}

fn histories(stage: &ExpandedStage) -> Vec<&str> {
    stage
        .steps
        .iter()
        .filter_map(|s| s.history.as_deref())
        .collect()
}

fn messages(error: &PlanError) -> Vec<&str> {
    error.0.iter().map(|d| d.message.as_str()).collect()
}

#[test]
fn only_the_stages_that_the_target_needs_are_planned() {
    let text = "\
        FROM a AS one\n\
        FROM b AS unused\n\
        FROM one AS two\n\
        FROM scratch\n\
        COPY --from=two /x /x\n\
        COPY --from=busybox:1 /bin /bin\n";
    let planned = graph(text, "", &args(&[])).unwrap();
    let indexes: Vec<usize> = planned.stages.iter().map(|s| s.index).collect();
    assert_eq!(indexes, [0, 2, 3]);
    assert_eq!(planned.stages[1].base, Base::Stage(0));
    let busybox = CopyFrom::Image(image("busybox:1", "linux/amd64"));
    let (source, span) = &planned.stages[2].sources[0];
    assert_eq!((source, span.text(text)), (&busybox, "busybox:1"));

    let one = graph(text, "ONE", &args(&[])).unwrap();
    assert_eq!(one.stages.len(), 1);
    let error = graph(text, "three", &args(&[])).unwrap_err();
    assert_eq!(
        messages(&error),
        ["target stage \"three\" could not be found"]
    );
}

#[test]
fn from_sees_global_arguments_and_build_args() {
    let text = "ARG V=1\nARG IMAGE=base:$V\nFROM --platform=$TARGETPLATFORM ${IMAGE}\n";
    let planned = graph(text, "", &args(&[])).unwrap();
    assert_eq!(
        planned.stages[0].base,
        Base::Image(image("base:1", "linux/amd64"))
    );
    assert_eq!(
        planned.stages[0].platform.as_ref().unwrap().to_string(),
        "linux/amd64"
    );
    let planned = graph(text, "", &args(&[("V", "2")])).unwrap();
    assert_eq!(
        planned.stages[0].base,
        Base::Image(image("base:2", "linux/amd64"))
    );
    let error = graph("ARG X\nFROM $X\n", "", &args(&[])).unwrap_err();
    assert!(
        messages(&error)[0].contains("base name ($X) should not be blank"),
        "{error}"
    );
}

/// As BuildKit does: `--platform` is for the base of a stage (and the context that takes the
/// stage's place), and never for what is copied into it.
#[test]
fn images_are_asked_for_by_platform() {
    let text = "\
        FROM --platform=linux/amd64 x:1 AS tools\n\
        COPY --from=x:1 /a /a\n\
        COPY --from=ctx /a /a\n\
        FROM --platform=linux/amd64 scratch AS replaced\n\
        FROM x:1\n\
        COPY --from=tools / /\n\
        COPY --from=replaced / /\n";
    let parsed = parse(text);
    let given = NamedContext::Image("y:1".parse().unwrap());
    let named = ["ctx", "replaced"].map(|name| (name.to_owned(), given.clone()));
    let (build, target) = (
        "linux/amd64".parse().unwrap(),
        "linux/arm64".parse().unwrap(),
    );
    let options = GraphOptions {
        target: "",
        args: &args(&[]),
        build_platform: &build,
        target_platform: &target,
        named: &named.into_iter().collect(),
        consent: Consent::default(),
    };
    let planned = Graph::new(&parsed.dockerfile, &options).unwrap();
    let bases: Vec<&Base> = planned.stages.iter().map(|stage| &stage.base).collect();
    assert_eq!(
        bases,
        [
            &Base::Image(image("x:1", "linux/amd64")),
            &Base::Image(image("y:1", "linux/amd64")),
            &Base::Image(image("x:1", "linux/arm64")),
        ]
    );
    let sources = planned.stages[0].sources.iter();
    let sources: Vec<&CopyFrom> = sources.map(|(source, _)| source).collect();
    let expected = ["x:1", "y:1"].map(|name| CopyFrom::Image(image(name, "linux/arm64")));
    assert_eq!(sources, expected.iter().collect::<Vec<_>>());
}

#[test]
fn copying_from_below_is_refused_with_its_place() {
    for (text, what) in [
        (
            "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\n",
            "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"",
        ),
        (
            "FROM a AS x\nCOPY --from=x / /\n",
            "circular dependency detected on stage: x",
        ),
        ("FROM a\nCOPY --from=3 / /\n", "there is no stage 3"),
        (
            "FROM a\nCOPY --from=Bad:: / /\n",
            "no stage and no image reference",
        ),
    ] {
        let target = if text.contains("AS x") { "x" } else { "" };
        let error = graph(text, target, &args(&[])).unwrap_err();
        assert!(error.to_string().contains(what), "{text}: {error}");
        assert!(error.0[0].span.start > 0);
    }
}

#[test]
fn the_configuration_and_history_are_dockers() {
    let text = "\
        FROM scratch\n\
        MAINTAINER me\n\
        ARG X=1 Y\n\
        ENV A=$X B=\"b c\"\n\
        ENV A=2 C=$A\n\
        LABEL k=$A\n\
        EXPOSE 443 80-81/udp\n\
        VOLUME /data /logs\n\
        WORKDIR /srv\n\
        WORKDIR app\n\
        USER me:us\n\
        STOPSIGNAL SIGINT\n\
        SHELL [\"/bin/bash\", \"-c\"]\n\
        CMD echo hi\n\
        ENTRYPOINT [\"/run\", \"x\"]\n\
        HEALTHCHECK --interval=5s CMD curl localhost\n\
        ONBUILD RUN x\n\
        RUN make\n";
    let stage = expand(text, Config::default(), &[("Y", "y")]).unwrap();
    insta::assert_debug_snapshot!(histories(&stage));
    insta::assert_snapshot!(serde_json::to_string_pretty(&*stage.config).unwrap());
    assert_eq!(stage.author.as_deref(), Some("me"));
}

#[test]
fn run_gets_its_environment_and_hides_proxies() {
    let text = "FROM scratch\nARG A=1\nENV B=2 A=3\nWORKDIR /w\nUSER u\nRUN [\"x\"]\n";
    let given = [("http_proxy", "http://proxy"), ("A", "9")];
    let stage = expand(text, Config::default(), &given).unwrap();
    let Some(Op::Run(run)) = &stage.steps.last().unwrap().op else {
        panic!()
    };
    assert_eq!(run.env[1..], ["A=3", "B=2"]);
    let proxies = ["HTTP_PROXY=http://proxy", "http_proxy=http://proxy"];
    assert_eq!(run.hidden_env, proxies);
    assert_eq!((run.user.as_str(), run.cwd.as_str()), ("u", "/w"));
    assert_eq!(
        *histories(&stage).last().unwrap(),
        "RUN |1 A=3 x # buildkit"
    );
}

#[test]
fn entrypoint_resets_an_inherited_cmd_only() {
    let base = Config {
        cmd: Some(vec!["sh".to_owned()]),
        ..Config::default()
    };
    let stage = expand("FROM b\nENTRYPOINT [\"e\"]\n", base.clone(), &[]).unwrap();
    assert_eq!(stage.config.cmd, None);
    let stage = expand("FROM b\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n", base, &[]).unwrap();
    assert_eq!(stage.config.cmd.as_deref(), Some(&["c".to_owned()][..]));
}

#[test]
fn empty_commands_are_none() {
    let base = Config {
        cmd: Some(vec!["sh".to_owned()]),
        entrypoint: Some(vec!["e".to_owned()]),
        ..Config::default()
    };
    let stage = expand("FROM b\nCMD []\nENTRYPOINT []\n", base, &[]).unwrap();
    assert_eq!(
        (&stage.config.cmd, &stage.config.entrypoint),
        (&None, &None)
    );
    assert_eq!(histories(&stage), ["CMD []", "ENTRYPOINT []"]);
}

#[test]
fn the_later_of_arg_and_env_wins() {
    let base = Config {
        env: vec!["BASE=image".to_owned()],
        ..Config::default()
    };
    let text = "\
        FROM b\n\
        ENV X=env\n\
        ARG X=arg BASE=arg W=$X\n\
        ARG NONE\n\
        ENV SEEN=$X-$BASE-$W-$NONE\n\
        RUN [\"x\"]\n";
    let stage = expand(text, base, &[]).unwrap();
    let env = ["BASE=image", "X=env", "SEEN=arg-arg-arg-"];
    let kept: Vec<_> = env
        .iter()
        .filter(|e| stage.config.env.contains(&e.to_string()))
        .collect();
    assert_eq!(kept.len(), 3, "{:?}", stage.config.env);
    assert_eq!(
        *histories(&stage).last().unwrap(),
        "RUN |4 X=arg BASE=arg W=arg NONE= x # buildkit"
    );
}

#[test]
fn triggers_of_the_base_fire_first_and_are_not_inherited() {
    let base = Config {
        on_build: vec!["ENV T=1".to_owned(), "COPY . /src".to_owned()],
        ..Config::default()
    };
    let stage = expand("FROM b\nENV U=$T\n", base, &[]).unwrap();
    assert!(stage.config.on_build.is_empty());
    assert!(stage.config.env.contains(&"U=1".to_owned()));
    assert_eq!(histories(&stage)[1], "COPY . /src # buildkit");
    let wrong = Config {
        on_build: vec!["NOPE".to_owned()],
        ..Config::default()
    };
    let error = expand("FROM b\n", wrong, &[]).unwrap_err();
    assert!(
        error.to_string().contains("ONBUILD trigger \"NOPE\""),
        "{error}"
    );
}

#[test]
fn all_mistakes_of_a_stage_are_told_at_once() {
    let text = "\
        FROM scratch\n\
        COPY a b dest\n\
        EXPOSE $NOPE:x\n\
        STOPSIGNAL SIGNOPE\n\
        ENV A=${B:?needed}\n\
        ADD --checksum=sha256:1 https://example.com/x /x\n\
        ADD https://example.com/repo.git /x\n";
    let error = expand(text, Config::default(), &[]).unwrap_err();
    insta::assert_debug_snapshot!(messages(&error));
}

/// `docker-image://scratch` is what `FROM scratch` is: nothing, wherever its name stands.
#[test]
fn a_context_of_nothing_is_scratch() {
    let text = "\
        FROM x AS replaced\n\
        FROM ctx\n\
        COPY --from=ctx / /\n\
        COPY --from=replaced / /\n";
    let parsed = parse(text);
    let platform = "linux/amd64".parse().unwrap();
    let named = ["ctx", "replaced"].map(|name| (name.to_owned(), NamedContext::Scratch));
    let options = GraphOptions {
        target: "",
        args: &args(&[]),
        build_platform: &platform,
        target_platform: &platform,
        named: &named.into_iter().collect(),
        consent: Consent::default(),
    };
    let planned = Graph::new(&parsed.dockerfile, &options).unwrap();
    let stages = planned.stages.iter();
    assert!(stages.clone().all(|stage| stage.base == Base::Scratch));
    assert!(stages.clone().any(|stage| !stage.replaced));
    let images = stages.flat_map(|stage| &stage.sources);
    assert!(
        images
            .clone()
            .all(|(source, _)| *source == CopyFrom::Scratch)
    );
    assert!(images.count() > 0);
}
