//! What a node takes from elsewhere: the trees that its inputs mean once what it needs is done,
//! and what of them counts in its key.

use oci::ChainId;

use super::backend::{Execute, Job, Sources, Tree};
use super::error::StepError;
use super::jobs::Turn;
use crate::plan::{MountOp, Op};

/// A node looked at: what there is to do, and the names and digests of what it takes.
pub struct Looked<'o, S> {
    /// What there is to do.
    pub job: Job<'o, S>,
    /// What it takes, for its key.
    pub files: Vec<(String, String)>,
    /// What a copy that does not depend on the layers below it takes from them, for its key.
    pub below: Vec<(String, String)>,
}

/// Looks at what an operation takes from `trees`, one for each input of its node, and from
/// `parent`. `anew` says that nothing of earlier builds is wanted.
pub async fn look<'o, B: Execute>(
    backend: &B,
    op: &'o Op,
    trees: Vec<Tree>,
    parent: Option<&ChainId>,
    turn: &Turn,
    anew: bool,
) -> Result<Looked<'o, B::Selected>, StepError> {
    Ok(match op {
        Op::Run(op) => {
            let mut trees = trees.into_iter();
            let of_mount = |mount: &MountOp| mount.from().and_then(|_| trees.next());
            let trees: Vec<Option<Tree>> = op.mounts.iter().map(of_mount).collect();
            let files = match trees.iter().any(Option::is_some) {
                true => backend.bound(op, &trees, turn).await?,
                false => Vec::new(),
            };
            Looked {
                job: Job::Run { op, trees, anew },
                files,
                below: Vec::new(),
            }
        }
        Op::Workdir(workdir) => Looked {
            job: Job::Workdir(workdir),
            files: Vec::new(),
            below: Vec::new(),
        },
        Op::Copy(op) => {
            let tree = trees.into_iter().next().unwrap_or(Tree::Layers(None));
            let Sources { files, selected } = backend.sources(op, &tree, turn).await?;
            let below = match op.link {
                true => backend.below(op, parent).await?,
                false => Vec::new(),
            };
            Looked {
                job: Job::Copy { op, tree, selected },
                files,
                below,
            }
        }
    })
}
