//! `rbuild prune`, `image prune`, `builder prune` and `system prune`

mod choose;
mod others;
mod what;

use std::time::Duration;

use clap::Args;
use containers::engine::Containers;
use containers::events::{Actor, Event, journal};
use store::{Kept, PruneOptions, PruneReport, Removal, Store};

use what::What;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::happened;
use crate::term::prompt;
use crate::term::style;
use crate::usage::wrong_value;
use crate::when;

/// `rbuild prune`, and most of `rbuild system prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild prune                        what no name and no image needs any more
  rbuild prune --dry-run -a           what there is to gain
  rbuild prune -f --filter until=24h  nothing that was used within a day
  rbuild prune -f --filter label!=keep images without that label")]
pub struct PruneArgs {
    /// Also images that have names, and the build cache of images that are there
    #[arg(short, long)]
    pub all: bool,

    /// Only what was last used before: until=24h or a date. Images alone by label=KEY[=VALUE],
    /// label!=KEY[=VALUE] or dangling=BOOL, build cache alone by id=ID, type=TYPE or
    /// description=TEXT, also with != or, for a regular expression, ~=; may be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    #[command(flatten)]
    pub common: Common,

    #[command(flatten)]
    pub space: SpaceArgs,
}

/// `rbuild system prune`
#[derive(Debug, Args)]
pub struct SystemPruneArgs {
    /// Also volumes without a name that no container uses
    #[arg(long)]
    pub volumes: bool,

    #[command(flatten)]
    pub prune: PruneArgs,
}

/// `rbuild image prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild image prune                        images without a name
  rbuild image prune --dry-run -a           what there is to gain
  rbuild image prune -af --filter until=24h nothing that was used within a day")]
pub struct ImagePruneArgs {
    /// All images, those with names too
    #[arg(short, long)]
    pub all: bool,

    /// Only what was last used before: until=24h or a date; label=KEY[=VALUE],
    /// label!=KEY[=VALUE] or dangling=BOOL; may be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    #[command(flatten)]
    pub common: Common,
}

/// `rbuild builder prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild builder prune                      the cache of steps that no image needs
  rbuild builder prune -af                  all of it
  rbuild builder prune -f --keep-storage 5g")]
pub struct CachePruneArgs {
    /// All build cache, that of images that are there too
    #[arg(short, long)]
    pub all: bool,

    /// Only what was last used before: until=24h or a date; id=ID, type=TYPE or description=TEXT,
    /// also with != or, for a regular expression, ~=; may be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    #[command(flatten)]
    pub common: Common,

    #[command(flatten)]
    pub space: SpaceArgs,
}

/// How much of the build cache stays.
#[derive(Debug, Default, Args)]
pub struct SpaceArgs {
    /// Keep this much of the build cache, the most recently used, such as 5g
    #[arg(long, visible_alias = "reserved-space", value_name = "BYTES")]
    pub keep_storage: Option<String>,

    /// Remove of the build cache what is over this size, such as 5g, but never of what
    /// --keep-storage keeps
    #[arg(long, value_name = "BYTES")]
    pub max_used_space: Option<String>,

    /// Remove of the build cache until so much of the disk is free, such as 5g, but never of what
    /// --keep-storage keeps
    #[arg(long, value_name = "BYTES")]
    pub min_free_space: Option<String>,
}

/// Sizes that were understood, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Space {
    reserved: Option<u64>,
    most: Option<u64>,
    free: Option<u64>,
}

impl Space {
    /// How many bytes of cache stay, if it is not for use alone to say, of `total` on a disk of
    /// which `free` are free: BuildKit's rule, but that a disk with enough free space loses
    /// nothing.
    fn kept(&self, total: u64, free: u64) -> Option<u64> {
        let most = match (self.free, self.most) {
            (None, most) => most,
            (Some(wanted), most) => {
                let missing = wanted.saturating_sub(free);
                let most = most.unwrap_or(u64::MAX);
                Some(match missing {
                    0 => most,
                    missing => most.min(total.saturating_sub(missing)),
                })
            }
        };
        most.max(self.reserved)
    }
}

impl SpaceArgs {
    /// The sizes.
    ///
    /// # Errors
    /// In docker's words.
    fn read(&self) -> Result<Space, Failure> {
        let size = |flag: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            match golang::size::parse_size(text) {
                Some(size) => Ok(Some(size)),
                None => {
                    let why = format!("invalid size: '{text}'");
                    Err(Failure::with_code(wrong_value(flag, text, &why), 125))
                }
            }
        };
        Ok(Space {
            reserved: size("--keep-storage", &self.keep_storage)?,
            most: size("--max-used-space", &self.max_used_space)?,
            free: size("--min-free-space", &self.min_free_space)?,
        })
    }
}

/// What every prune can be told.
#[derive(Debug, Args)]
pub struct Common {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// Only tell what would be removed
    #[arg(long)]
    pub dry_run: bool,

    /// There is one builder, and all is told that there is: accepted, nothing to do
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true)]
    verbose: bool,
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
}

impl From<PruneArgs> for Wanted {
    fn from(args: PruneArgs) -> Self {
        Self {
            what: What::Everything,
            all: args.all,
            filters: args.filters,
            common: args.common,
            space: args.space,
        }
    }
}

impl From<SystemPruneArgs> for Wanted {
    fn from(args: SystemPruneArgs) -> Self {
        Self {
            what: match args.volumes {
                true => What::SystemAndVolumes,
                false => What::System,
            },
            ..Self::from(args.prune)
        }
    }
}

impl From<ImagePruneArgs> for Wanted {
    fn from(args: ImagePruneArgs) -> Self {
        Self {
            what: What::Images,
            all: args.all,
            filters: args.filters,
            common: args.common,
            space: SpaceArgs::default(),
        }
    }
}

impl From<CachePruneArgs> for Wanted {
    fn from(args: CachePruneArgs) -> Self {
        Self {
            what: What::Cache,
            all: args.all,
            filters: args.filters,
            common: args.common,
            space: args.space,
        }
    }
}

/// A prune of any kind.
pub struct Wanted {
    what: What,
    all: bool,
    filters: Vec<String>,
    common: Common,
    space: SpaceArgs,
}

/// Runs the command.
pub async fn run(app: &App, wanted: impl Into<Wanted>) -> Outcome {
    let Wanted {
        what,
        all,
        filters,
        common: args,
        space,
    } = wanted.into();
    let filters = Filters::parse_long(&filters, &choose::known(what))?;
    if matches!(what, What::SystemAndVolumes) && filters.all("until").next().is_some() {
        let text = "The \"until\" filter is not supported with \"--volumes\"";
        return Err(Failure::new(text));
    }
    let mut until = None;
    for text in filters.all("until") {
        let before = when::until(text).map_err(Failure::new)?;
        let age = u64::try_from(when::now() - before).unwrap_or(0);
        until = Some(Duration::from_secs(age));
    }
    let space = space.read()?;
    let all = all || filters.boolean("dangling")? == Some(false);
    if !args.force && !args.dry_run && !prompt::confirm(&app.printer, warning(what, all)).await? {
        return Ok(());
    }
    let store = app.store_to_remove().await?;
    let chosen = choose::choose(&store, &filters).await?;
    let options = PruneOptions {
        images: what != What::Cache,
        cache: what != What::Images,
        all,
        until,
        keep_storage: keep_storage(&store, space).await?,
        dry_run: args.dry_run,
        only_images: chosen.images,
        only_cache: chosen.cache,
    };
    // First whatever uses images.
    let mut removed = others::Removed::default();
    if what.has_containers() {
        let containers = Containers::new(store.clone());
        let volumes = what == What::SystemAndVolumes;
        removed = others::remove(&containers, &filters, volumes, args.dry_run).await?;
    }
    let mut report = store.prune(&options).await?;
    if !args.dry_run {
        tell(&store, what, &report, removed.space);
    }
    report.reclaimed += removed.space;
    let text = others::told(&removed, args.dry_run) + &told(&report, args.dry_run);
    app.printer.write_out(text.as_bytes());
    if let Some(note) = kept(&report.kept) {
        app.printer.note(note);
    }
    Ok(())
}

/// Writes down what went, as docker tells of it: each kind once.
fn tell(store: &Store, what: What, report: &PruneReport, containers: u64) {
    for removal in &report.images {
        if let Removal::Deleted(id) = removal {
            let actor = Actor::image(&id.to_string(), &id.to_string());
            journal::tell(store.root(), &Event::of("image", actor, "delete"));
        }
    }
    if what.has_containers() {
        happened::tell_of_prune(store, "container", containers);
        happened::tell_of_prune(store, "network", 0);
    }
    if what != What::Cache {
        happened::tell_of_prune(store, "image", report.reclaimed);
    }
    if what != What::Images {
        happened::tell_of_prune(store, "builder", report.reclaimed);
    }
}

/// How many bytes of the build cache stay.
async fn keep_storage(store: &Store, space: Space) -> Result<Option<u64>, Failure> {
    if space == Space::default() {
        return Ok(None);
    }
    let mut all = store.cache_list().await?;
    all.extend(store.cache_mounts().await?);
    let total = all.iter().map(|record| record.size).sum();
    let disk = rustix::fs::statvfs(store.root()).map_err(std::io::Error::from)?;
    Ok(space.kept(total, disk.f_bavail * disk.f_frsize))
}

fn warning(what: What, all: bool) -> &'static str {
    match (what, all) {
        (What::Images, false) => "WARNING! This will remove all dangling images.",
        (What::Images, true) => "WARNING! This will remove all images, those with names too.",
        (What::Cache, false) => "WARNING! This will remove all dangling build cache.",
        (What::Cache, true) => "WARNING! This will remove all build cache.",
        (What::Everything, false) => {
            "WARNING! This will remove:\n  - all dangling images\n  - all dangling build cache\n"
        }
        (What::Everything, true) => {
            "WARNING! This will remove:\n  - all images, those with names too\n  \
             - all build cache\n"
        }
        (What::System, false) => {
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  - all dangling images\n  \
             - unused build cache\n"
        }
        (What::System, true) => {
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all images without at least one container associated to them\n  \
             - all build cache\n"
        }
        (What::SystemAndVolumes, false) => {
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all dangling images\n  - unused build cache\n"
        }
        (What::SystemAndVolumes, true) => {
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all images without at least one container associated to them\n  \
             - all build cache\n"
        }
    }
}

/// What stays because somebody uses it.
fn kept(kept: &Kept) -> Option<String> {
    let counted = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts: Vec<String> = [
        counted(kept.images, "image"),
        counted(kept.cache, "build cache object"),
        counted(kept.snapshots, "layer"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        return None;
    }
    let ids: Vec<String> = kept.processes.iter().map(u32::to_string).collect();
    Some(format!(
        "Kept {} ({}): in use by other rbuild commands that run (process {})",
        parts.join(", "),
        style::size(kept.size),
        ids.join(", ")
    ))
}

fn told(report: &PruneReport, dry_run: bool) -> String {
    let mut out = String::new();
    if !report.images.is_empty() {
        out.push_str(if dry_run {
            "Would delete images:\n"
        } else {
            "Deleted Images:\n"
        });
        for removal in &report.images {
            // Here docker writes them small.
            out.push_str(&match removal {
                Removal::Untagged(reference) => format!("untagged: {}\n", reference.familiar()),
                Removal::Deleted(digest) => format!("deleted: {digest}\n"),
            });
        }
        out.push('\n');
    }
    if !report.cache.is_empty() {
        out.push_str(match dry_run {
            true => "Would delete build cache objects:\n",
            false => "Deleted build cache objects:\n",
        });
        for record in &report.cache {
            out.push_str(record.key.short());
            let description = record.description.replace(['\n', '\r', '\t'], " ");
            if !description.is_empty() {
                out.push_str("  ");
                out.push_str(&description);
            }
            out.push('\n');
        }
        out.push('\n');
    }
    let reclaimed = style::size(report.reclaimed);
    out.push_str(&match dry_run {
        true => format!("Total reclaimable space: {reclaimed}\n"),
        false => format!("Total reclaimed space: {reclaimed}\n"),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;

    /// By BuildKit's calculateKeepBytes, with a total of 100 and 20 free.
    #[test]
    fn what_is_reserved_stays_however_little_may_be_used() {
        for (reserved, most, free, kept) in [
            (None, None, None, None),
            (Some(50), None, None, Some(50)),
            (None, Some(70), None, Some(70)),
            (Some(50), Some(70), None, Some(70)),
            (Some(90), Some(70), None, Some(90)),
            (None, None, Some(30), Some(90)),
            (None, Some(70), Some(30), Some(70)),
            (None, Some(95), Some(30), Some(90)),
            (Some(99), Some(95), Some(30), Some(99)),
            (None, None, Some(500), Some(0)),
            (None, Some(70), Some(10), Some(70)),
            (None, None, Some(10), Some(u64::MAX)),
        ] {
            let space = Space {
                reserved,
                most,
                free,
            };
            assert_eq!(space.kept(100, 20), kept, "{space:?}");
        }
    }

    #[test]
    fn tells_what_went_as_docker_does() {
        let report = PruneReport {
            images: vec![
                Removal::Untagged("app:v1".parse().unwrap()),
                Removal::Deleted(Digest::empty()),
            ],
            reclaimed: 1_500_000,
            ..PruneReport::default()
        };
        insta::assert_snapshot!(told(&report, false), @r"
        Deleted Images:
        untagged: app:v1
        deleted: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

        Total reclaimed space: 1.5MB
        ");
        assert_eq!(
            told(&PruneReport::default(), true),
            "Total reclaimable space: 0B\n"
        );
    }

    #[test]
    fn says_what_it_kept_and_for_whom() {
        assert_eq!(kept(&Kept::default()), None);
        let some = Kept {
            images: 1,
            cache: 0,
            snapshots: 2,
            size: 1_500_000,
            processes: vec![12, 345],
        };
        assert_eq!(
            kept(&some).unwrap(),
            "Kept 1 image, 2 layers (1.5MB): in use by other rbuild commands that run \
             (process 12, 345)"
        );
    }
}
