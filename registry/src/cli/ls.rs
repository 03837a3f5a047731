//! `rregistry ls` and `rregistry tags`

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;

use super::failure::{Failure, out};
use super::operate::{Format, Operator, show_json};
use super::settings::Settings;
use super::table::{minute, plain, short, table};
use crate::meta::{ListQuery, Listing, RepositoryEntry, Sort, TagEntry};
use crate::operate::Operation;
use crate::units::show_size;

/// Entries of one page.
const PAGE: u32 = 1000;

/// List repositories with their tags, sizes and dates.
#[derive(Debug, Args)]
pub(super) struct Ls {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    list: List,

    /// Only repositories that have this in their names, labels or annotations: the best first.
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["sort", "reverse", "name"])]
    search: Option<String>,

    /// Only names with this in them.
    #[arg(value_name = "TEXT")]
    name: Option<String>,
}

/// List a repository's tags: what they point to, how large it is, when it came and was last pulled.
#[derive(Debug, Args)]
pub(super) struct Tags {
    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    list: List,

    /// The repository.
    #[arg(value_name = "REPOSITORY")]
    repository: String,

    /// Only tags with this in them.
    #[arg(value_name = "TEXT")]
    name: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    /// What the list is sorted by: names from a to z, the newest or the largest first.
    #[arg(long, value_enum, default_value_t = By::Name)]
    sort: By,

    /// From the last to the first.
    #[arg(long, short)]
    reverse: bool,

    /// No more than so many.
    #[arg(long, short = 'n', value_name = "NUMBER")]
    limit: Option<usize>,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Only names, a line each, for scripts.
    #[arg(long, short, conflicts_with = "format")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Name,
    Time,
    Size,
}

impl List {
    fn query(&self, name: Option<&String>) -> ListQuery {
        let (sort, descending) = match self.sort {
            By::Name => (Sort::Name, false),
            By::Time => (Sort::Time, true),
            By::Size => (Sort::Size, true),
        };
        ListQuery {
            sort,
            descending: descending != self.reverse,
            filter: name.cloned().unwrap_or_default(),
            after: None,
            n: PAGE,
        }
    }

    /// All pages, up to the limit.
    fn pages<T: DeserializeOwned>(
        &self,
        operator: &Operator,
        name: Option<&String>,
        operation: impl Fn(ListQuery) -> Operation,
    ) -> Result<Vec<T>, Failure> {
        let mut query = self.query(name);
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut all = Vec::new();
        while all.len() < limit {
            let page: Listing<T> = operator.ask(&operation(query.clone()))?;
            all.extend(page.entries);
            match page.next {
                None => break,
                after => query.after = after,
            }
        }
        all.truncate(limit);
        Ok(all)
    }
}

pub(super) fn run(options: Ls) -> Result<(), Failure> {
    let operator = Operator::new(options.settings)?;
    let list = &options.list;
    let found: Vec<RepositoryEntry> = match options.search {
        Some(words) => {
            let n = list.limit.unwrap_or(100);
            operator.ask(&Operation::Search(words, n))?
        }
        None => list.pages(&operator, options.name.as_ref(), Operation::Repositories)?,
    };
    if list.quiet {
        let lines = found.iter().map(|entry| format!("{}\n", entry.name));
        return out(&lines.collect::<String>());
    }
    match list.format {
        Format::Json => show_json(&found),
        Format::Table => out(&repositories(&found)),
    }
}

pub(super) fn run_tags(options: Tags) -> Result<(), Failure> {
    let operator = Operator::new(options.settings)?;
    let list = &options.list;
    let repository = &options.repository;
    let tags = |query| Operation::Tags(repository.clone(), query);
    let found: Vec<TagEntry> = list.pages(&operator, options.name.as_ref(), tags)?;
    if list.quiet {
        let lines = found
            .iter()
            .map(|tag| format!("{repository}:{}\n", tag.name));
        return out(&lines.collect::<String>());
    }
    match list.format {
        Format::Json => show_json(&found),
        Format::Table => out(&tag_rows(&found)),
    }
}

fn repositories(found: &[RepositoryEntry]) -> String {
    let row = |entry: &RepositoryEntry| {
        vec![
            entry.name.clone(),
            entry.tags.to_string(),
            show_size(entry.bytes),
            minute(entry.pushed),
            minute(entry.pulled),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    table(&["REPOSITORY", "TAGS", "SIZE", "PUSHED", "PULLED"], &rows)
}

fn tag_rows(found: &[TagEntry]) -> String {
    let row = |tag: &TagEntry| {
        let manifest = &tag.manifest;
        let what = match manifest.platforms.is_empty() {
            false => manifest.platforms.join(","),
            true => manifest.artifact_type.clone().unwrap_or_default(),
        };
        vec![
            tag.name.clone(),
            short(&manifest.digest),
            show_size(manifest.bytes),
            plain(&what),
            minute(tag.tagged),
            minute(manifest.pulled),
            if tag.signed { "yes" } else { "no" }.to_owned(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    table(
        &[
            "TAG",
            "DIGEST",
            "SIZE",
            "PLATFORMS",
            "PUSHED",
            "PULLED",
            "SIGNED",
        ],
        &rows,
    )
}
