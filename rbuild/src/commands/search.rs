//! `rbuild search`

use clap::Args;
use client::search::Match;
use serde_json::Value;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::term::listing::{Format, Row};

/// `rbuild search`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild search httpd
  rbuild search -f stars=100 -f is-official=true ubuntu
  rbuild search registry.lan:5000/app       what a registry lists")]
pub struct SearchArgs {
    /// Only images for which it holds: stars=NUMBER, is-official=BOOL or is-automated=BOOL; may be
    /// repeated
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// `table TEMPLATE`, `json`, or a Go template with the fields .Name .Description .StarCount
    /// .IsOfficial
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    pub limit: usize,

    /// Do not shorten descriptions
    #[arg(long)]
    pub no_trunc: bool,

    /// A word, with a registry in front of it that is not Docker Hub
    #[arg(value_name = "TERM")]
    pub term: String,
}

const DEFAULT: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADERS: [(&str, &str); 4] = [
    ("Description", "DESCRIPTION"),
    ("IsOfficial", "OFFICIAL"),
    ("Name", "NAME"),
    ("StarCount", "STARS"),
];
/// How long a description is shown.
const DESCRIPTION: usize = 45;
/// docker's.
const MOST: usize = 100;

/// Runs the command.
pub async fn run(app: &App, args: SearchArgs) -> Outcome {
    let filters = Filters::parse(&args.filters, &["is-automated", "is-official", "stars"])?;
    let format = Format::parse(args.format.as_deref(), DEFAULT)?;
    if args.limit > MOST {
        let limit = args.limit;
        return Err(Failure::new(format!(
            "limit {limit} is outside the range of [1, {MOST}]"
        )));
    }
    let limit = match args.limit {
        0 => 25,
        limit => limit,
    };
    let mut stars = 0;
    for text in filters.all("stars") {
        let number = text.parse::<u64>();
        stars = number.map_err(|_| Failure::new(format!("invalid filter 'stars={text}'")))?;
    }
    let official = filters.boolean("is-official")?;
    let automated = filters.boolean("is-automated")?;
    let (registry, term) = place(&args.term);
    let client = client::Client::new(client::Config::from_env()?);
    let mut found = client.search(registry, term, limit).await?;
    // Nothing is built automatically any more.
    found.retain(|one| {
        one.stars >= stars
            && official.is_none_or(|wanted| one.official == wanted)
            && automated != Some(true)
    });
    let rows: Vec<Row> = found.iter().map(|one| row(one, args.no_trunc)).collect();
    app.printer
        .write_out(format.render(&rows, &HEADERS)?.as_bytes());
    Ok(())
}

/// The registry of a term, and what is looked for in it.
fn place(term: &str) -> (&str, &str) {
    let is_host = |text: &str| text.contains(['.', ':']) || text == "localhost";
    match term.split_once('/') {
        Some((host, rest)) if is_host(host) => match host {
            "docker.io" | "index.docker.io" => ("docker.io", rest),
            host => (host, rest),
        },
        _ => ("docker.io", term),
    }
}

fn row(found: &Match, whole: bool) -> Row {
    let description = found.description.replace(['\n', '\r'], " ");
    let shown = match whole || description.chars().count() <= DESCRIPTION {
        true => description,
        false => {
            let kept: String = description.chars().take(DESCRIPTION - 1).collect();
            format!("{kept}\u{2026}")
        }
    };
    let official = if found.official { "[OK]" } else { "" };
    [
        ("Description", shown),
        ("IsOfficial", official.to_owned()),
        ("Name", found.name.clone()),
        ("StarCount", found.stars.to_string()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::from(text)))
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_their_registry_in_front() {
        for (term, found) in [
            ("httpd", ("docker.io", "httpd")),
            ("me/httpd", ("docker.io", "me/httpd")),
            ("docker.io/httpd", ("docker.io", "httpd")),
            ("registry.lan:5000/x", ("registry.lan:5000", "x")),
            ("localhost/a/b", ("localhost", "a/b")),
        ] {
            assert_eq!(place(term), found);
        }
    }

    /// Docker's columns, and its 45 letters of a description.
    #[test]
    fn what_was_found_is_shown_as_dockers() {
        let found = Match {
            name: "httpd".to_owned(),
            description: "x".repeat(50),
            stars: 7,
            official: true,
        };
        let format = Format::parse(None, DEFAULT).unwrap();
        let text = format.render(&[row(&found, false)], &HEADERS).unwrap();
        let mut lines = text.lines();
        let titles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
        let line = format!("httpd     {}\u{2026}   7         [OK]", "x".repeat(44));
        assert_eq!(lines.next(), Some(line.as_str()));
    }
}
