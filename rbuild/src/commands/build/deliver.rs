//! What becomes of a build's result: the store, registries, archives, plain files, and what is
//! told of it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use builder::solve::progress::{Progress, Vertex};
use images::form::{Form, Vocabulary};
use images::index::build::{Part, put_index};
use images::index::push::push_result;
use images::progress::LayerProgress;
use images::save::{self, Saved, Shape};
use images::{ConfigDocument, ImageError, Images, export, local};
use oci::archive::Format;
use oci::{Descriptor, Digest, Platform, Reference};
use serde_json::{Map, Value, json};

use super::flags::BuildFlags;
use super::interrupts::Interrupts;
use super::options::Options;
use super::outcome::write_whole;
use super::outputs::{Dest, Look, Output};
use super::provenance::{self, Material};
use super::record::without_user;
use crate::app::App;
use crate::commands::push::{Pushing, push_one};
use crate::failure::{Failure, Outcome};
use crate::happened::Told;
use crate::term::output;
use crate::term::progress::Mode;
use crate::term::transfer::Transfer;

/// What was built for one platform.
pub struct Built {
    /// The platform.
    pub platform: Platform,
    /// The configuration.
    pub document: ConfigDocument,
    /// So many of the layers came with the base image.
    pub base_layers: usize,
    /// The images that it was made of.
    pub materials: Vec<Material>,
}

/// Brings a result where it is to go.
pub struct Delivery<'d> {
    pub app: &'d App,
    pub images: &'d Images,
    pub args: &'d BuildFlags,
    pub options: &'d Options,
    pub interrupts: &'d Interrupts,
    /// What deserves attention in the Dockerfile, for `--metadata-file`.
    pub warnings: Option<Value>,
    /// Whom it is told to, in place of whoever reads standard error.
    pub progress: Option<&'d dyn Progress>,
}

/// What is known once all is done.
#[derive(Default)]
struct Known {
    /// The image ID, or the digest of the index in the store.
    id: Option<Digest>,
    /// What registries or archives have.
    descriptor: Option<Descriptor>,
    names: Vec<String>,
}

impl Delivery<'_> {
    /// Does all that the flags ask for, which is one step more where programs are told. Returns the
    /// ID under which the store has the result, if it has.
    pub async fn all_shown(&self, built: &[Built]) -> Result<Option<Digest>, Failure> {
        let Some(progress) = self.progress else {
            return self.all(built).await;
        };
        let line = exporting();
        progress.started(&line);
        let done = self.all(built).await;
        match &done {
            Ok(_) => progress.done(&line),
            Err(failure) => progress.failed(&line, &failure.message),
        }
        done
    }

    /// Does all that the flags ask for, in their order, and tells of it.
    async fn all(&self, built: &[Built]) -> Result<Option<Digest>, Failure> {
        let mut known = Known::default();
        for output in &self.options.outputs {
            let done = match output {
                Output::Image {
                    store,
                    push,
                    by_digest,
                    look,
                } => {
                    let done = self.image(built, *store, (*push, *by_digest), look, &mut known);
                    tokio::select! {
                        done = done => done,
                        failure = self.interrupts.interrupted() => Err(failure),
                    }
                }
                Output::Archive {
                    docker,
                    dest,
                    tar,
                    look,
                } => {
                    let done = self.archive(built, (*docker, *tar), dest, look, &mut known);
                    done.await
                }
                Output::Files { tar, dest, split } => self.files(built, *tar, dest, *split).await,
                Output::Cache { store: false } => Ok(()),
                Output::Cache { store: true } => self.nameless(built, &mut known).await,
            };
            done.map_err(|failure| self.ended(failure))?;
        }
        let id = known.id.clone();
        self.tell(built, known).await?;
        Ok(id)
    }

    /// What was ended is no failure of its own.
    fn ended(&self, failure: Failure) -> Failure {
        let failure = self.interrupts.code(failure);
        match self.interrupts.cancel().is_cancelled() {
            true => failure.canceled(),
            false => failure,
        }
    }

    /// The names of an image in one output.
    fn names(&self, look: &Look) -> Vec<Reference> {
        match &look.names {
            Some(names) => names.iter().cloned().map(Reference::or_latest).collect(),
            None => self.options.tags.clone(),
        }
    }

    /// The parts of the result, in no store yet.
    async fn staged(&self, built: &[Built], look: &Look) -> Result<Vec<Part>, Failure> {
        let annotations = self.options.annotations.and(&look.annotations);
        let mut parts = Vec::new();
        for one in built {
            parts.push(Part {
                image: self.images.stage(&one.document).await?,
                platform: one.platform.clone(),
                annotations: annotations.manifest(&one.platform),
                base_layers: one.base_layers,
            });
        }
        Ok(parts)
    }

    fn shape(&self, built: &[Built], look: &Look, docker: bool) -> Shape {
        let annotations = self.options.annotations.and(&look.annotations);
        let platforms: Vec<Platform> = built.iter().map(|one| one.platform.clone()).collect();
        let entry = match platforms.as_slice() {
            [only] => annotations.manifest_descriptor(only),
            _ => annotations.index_descriptor(),
        };
        let own = match docker {
            true => Vocabulary::Docker,
            false => Vocabulary::Oci,
        };
        Shape {
            form: Form {
                compression: look.compression,
                force: look.force,
                vocabulary: Some(look.vocabulary.unwrap_or(own)),
                ..Form::default()
            },
            annotations: annotations.index(&platforms),
            entry,
            references: self.names(look),
        }
    }

    async fn image(
        &self,
        built: &[Built],
        store: bool,
        (push, by_digest): (bool, bool),
        look: &Look,
        known: &mut Known,
    ) -> Outcome {
        let names = self.names(look);
        known.names.extend(names.iter().map(ToString::to_string));
        if store {
            // Storing it waits for the disk as well, but cannot be ended then.
            self.images.make_durable().await?;
            let id = self.store(built, look, &names).await?;
            let told = Told::of(&self.images.store, &id).await;
            for name in &names {
                // As docker tells it of builds: `latest` goes without saying.
                let familiar = name.familiar();
                let said = familiar.strip_suffix(":latest").unwrap_or(&familiar);
                told.tell(&self.images.store, Some(said), "tag");
            }
            told.tell(&self.images.store, None, "create");
            self.note(&format!("writing image {id}"));
            for name in &names {
                self.note(&format!("naming to {name}"));
            }
            known.id.get_or_insert(id);
        }
        let annotated = !self.options.annotations.is_empty() || !look.annotations.is_empty();
        if !push {
            if annotated && built.len() == 1 {
                self.app.printer.warning(
                    "annotations belong to manifests, which an image in the store gets when it \
                     is pushed: push with this command (--push) to have them",
                );
            }
            return Ok(());
        }
        let plain = look
            == &Look {
                names: look.names.clone(),
                ..Look::default()
            };
        if store && plain && !annotated && !by_digest {
            for name in &names {
                self.note_push(name);
                let pushing = Pushing {
                    quiet: self.silent(),
                    ..Pushing::default()
                };
                let pushed = push_one(self.app, self.images, name, &pushing).await?;
                known.descriptor = Some(pushed);
            }
            return Ok(());
        }
        let mut shape = self.shape(built, look, true);
        shape.form.vocabulary = look.vocabulary;
        let parts = self.staged(built, look).await?;
        for name in names {
            self.note_push(&name);
            if !self.silent() {
                let repository = name.repository();
                let text = format!("The push refers to repository [{repository}]");
                self.app.printer.line(text);
            }
            shape.references = vec![name.clone()];
            let transfer = Transfer::push(&self.app.printer, self.silent());
            let pushed = push_result(self.images, &parts, &shape, by_digest, &transfer).await?;
            transfer.finish(false);
            if let (Some(pushed), false) = (&pushed, self.silent()) {
                let key = match by_digest {
                    true => pushed.digest.to_string(),
                    false => name.manifest_key(),
                };
                let text = format!("{key}: digest: {} size: {}", pushed.digest, pushed.size);
                self.app.printer.line(text);
            }
            known.descriptor = pushed;
        }
        Ok(())
    }

    /// Keeps the result in the store for others that start from it, and gives it no name.
    async fn nameless(&self, built: &[Built], known: &mut Known) -> Outcome {
        self.images.make_durable().await?;
        let id = self.store(built, &Look::default(), &[]).await?;
        known.id.get_or_insert(id);
        Ok(())
    }

    /// Tells what is being done.
    fn note(&self, text: &str) {
        match (self.progress, self.options.mode) {
            (Some(progress), _) => progress.status(&exporting(), text),
            (None, Mode::Quiet | Mode::None) => {}
            (None, _) => self.app.printer.note(text),
        }
    }

    /// Whether a push tells nothing by itself.
    fn silent(&self) -> bool {
        self.progress.is_some()
            || matches!(self.options.mode, Mode::Quiet | Mode::None)
            || self.to_stdout()
    }

    /// Tells of a push, where it tells nothing by itself.
    fn note_push(&self, name: &Reference) {
        if let Some(progress) = self.progress {
            progress.status(&exporting(), &format!("pushing {name}"));
        }
    }

    /// Keeps the result in the store; returns the image ID, or the digest of the index.
    async fn store(
        &self,
        built: &[Built],
        look: &Look,
        names: &[Reference],
    ) -> Result<Digest, Failure> {
        if let [only] = built {
            self.images.put_built(&only.document, names).await?;
            return Ok(only.document.id.clone());
        }
        let parts = self.staged(built, look).await?;
        for one in built {
            self.images.put_built(&one.document, &[]).await?;
        }
        let annotations = self.options.annotations.and(&look.annotations);
        let platforms: Vec<Platform> = built.iter().map(|one| one.platform.clone()).collect();
        let annotations = annotations.index(&platforms);
        let index = put_index(self.images, &parts, &annotations, names).await?;
        Ok(index.id)
    }

    async fn archive(
        &self,
        built: &[Built],
        (docker, tar): (bool, bool),
        dest: &Dest,
        look: &Look,
        known: &mut Known,
    ) -> Outcome {
        let shape = self.shape(built, look, docker);
        let names = shape.references.iter().map(ToString::to_string);
        known.names.extend(names);
        let parts = self.staged(built, look).await?;
        let transfer = Arc::new(Transfer::save(&self.app.printer, self.progress.is_some()));
        let progress: Arc<dyn LayerProgress> = transfer.clone();
        let mut saved = Saved::default();
        let added = saved.add_result(self.images, &parts, &shape, &progress);
        known.descriptor = Some(tokio::select! {
            added = added => added?,
            failure = self.interrupts.interrupted() => return Err(failure),
        });
        let format = match docker {
            true => Format::Docker,
            false => Format::Oci,
        };
        match dest {
            Dest::Path(dir) if !tar => {
                let dir = dir.clone();
                let work = move || save::write_directory(&saved, &dir);
                tokio::task::spawn_blocking(work).await??;
            }
            dest => {
                let write = move |out: &mut dyn Write| save::write_tar(&saved, format, out);
                self.write(dest, write).await?;
            }
        }
        transfer.finish(false);
        Ok(())
    }

    async fn files(&self, built: &[Built], tar: bool, dest: &Dest, split: Option<bool>) -> Outcome {
        let split = split.unwrap_or(built.len() > 1);
        let epoch = self.options.args.source_date_epoch();
        let mut trees = Vec::new();
        for part in self.staged(built, &Look::default()).await? {
            let folder = split.then(|| part.platform.to_string().replace('/', "_"));
            trees.push((folder, export::open(self.images, &part.image).await?));
        }
        match dest {
            Dest::Path(dir) if !tar => {
                let (dir, asked) = (dir.clone(), self.interrupts.asked());
                let work = move || write_folders(&trees, &dir, epoch, &asked);
                tokio::task::spawn_blocking(work).await??;
                Ok(())
            }
            dest => {
                let write = move |out: &mut dyn Write| export::write_trees(&trees, epoch, out);
                self.write(dest, write).await
            }
        }
    }

    /// Writes a file or standard output, until the build is interrupted.
    async fn write(
        &self,
        dest: &Dest,
        write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError> + Send + 'static,
    ) -> Outcome {
        let output = match dest {
            Dest::Stdout => output::Output::Stdout,
            Dest::Path(path) => output::Output::File(path.clone()),
        };
        let asked = self.interrupts.asked();
        let work = move || output.write(|out| write(&mut Until { out, asked: &asked }));
        tokio::task::spawn_blocking(work).await?
    }

    /// Tells what was made, where the flags say so.
    async fn tell(&self, built: &[Built], known: Known) -> Outcome {
        let only = match built {
            [only] => Some(&only.document.id),
            _ => None,
        };
        let of_index = known.descriptor.as_ref().map(|pushed| &pushed.digest);
        let id = only.or(known.id.as_ref()).or(of_index);
        if let (Some(path), Some(id)) = (&self.args.iidfile, id) {
            write_whole(path, id.to_string().into_bytes()).await?;
        }
        if let Some(path) = &self.args.metadata_file {
            let mut document = metadata(only, &known);
            if provenance::is_wanted() {
                self.tell_provenance(built, &mut document);
            }
            let warnings = self.warnings.clone();
            document.extend(warnings.map(|found| (WARNINGS.to_owned(), found)));
            document.sort_keys();
            let document = Value::Object(document);
            write_whole(path, serde_json::to_vec_pretty(&document)?).await?;
        }
        let files = |output: &Output| matches!(output, Output::Files { .. } | Output::Cache { .. });
        let image = !self.options.outputs.iter().all(files);
        let quiet = self.options.mode == Mode::Quiet;
        if let (true, true, false, Some(id)) = (quiet, image, self.to_stdout(), id) {
            self.app.printer.line(id);
        }
        Ok(())
    }

    /// How each image came to be, under the keys that buildx has for it.
    fn tell_provenance(&self, built: &[Built], document: &mut Map<String, Value>) {
        let remote = self.args.context.contains("://") || self.args.context.starts_with("git@");
        let address = remote.then(|| without_user(&self.args.context));
        for one in built {
            let key = match built.len() {
                1 => "buildx.build.provenance".to_owned(),
                _ => format!("buildx.build.provenance/{}", one.platform),
            };
            let told = provenance::predicate(self.args, address.as_deref(), &one.materials);
            document.insert(key, told);
        }
    }

    /// Whether an output goes to standard output.
    fn to_stdout(&self) -> bool {
        let mut outputs = self.options.outputs.iter();
        outputs.any(|output| match output {
            Output::Archive { dest, .. } | Output::Files { dest, .. } => *dest == Dest::Stdout,
            Output::Image { .. } | Output::Cache { .. } => false,
        })
    }
}

/// What buildx calls warnings in its metadata.
pub const WARNINGS: &str = "buildx.build.warnings";

/// The line of progress that all of it is, as BuildKit names it.
fn exporting() -> Vertex {
    Vertex {
        number: usize::MAX,
        name: "exporting to image".into(),
        span: None,
        inputs: Arc::default(),
    }
}

/// What buildx writes of an image.
fn metadata(config: Option<&Digest>, known: &Known) -> Map<String, Value> {
    let mut out = Map::new();
    let reference = known.id.as_ref().or(config).map(|id| id.short().to_owned());
    if let Some(reference) = reference {
        out.insert(
            "buildx.build.ref".to_owned(),
            json!(format!("default/default/{reference}")),
        );
    }
    if let Some(config) = config {
        out.insert("containerimage.config.digest".to_owned(), json!(config));
    }
    match &known.descriptor {
        Some(descriptor) => {
            let mut plain = descriptor.clone();
            plain.platform = None;
            out.insert("containerimage.descriptor".to_owned(), json!(plain));
            out.insert("containerimage.digest".to_owned(), json!(plain.digest));
        }
        None => {
            if let Some(id) = &known.id {
                out.insert("containerimage.digest".to_owned(), json!(id));
            }
        }
    }
    let mut names = known.names.clone();
    names.dedup();
    if !names.is_empty() {
        out.insert("image.name".to_owned(), json!(names.join(",")));
    }
    out
}

/// Ends writing when the build is interrupted.
struct Until<'u> {
    out: &'u mut dyn Write,
    asked: &'u dyn Fn() -> bool,
}

impl Write for Until<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match (self.asked)() {
            true => Err(stopped()),
            false => self.out.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn stopped() -> io::Error {
    io::Error::other(builder::stop::Stopped)
}

fn write_folders(
    trees: &[export::Placed],
    dir: &Path,
    epoch: Option<i64>,
    asked: &dyn Fn() -> bool,
) -> Result<(), ImageError> {
    let go_on = || match asked() {
        true => Err(stopped()),
        false => Ok(()),
    };
    for (folder, files) in trees {
        let dir = match folder {
            Some(folder) => dir.join(folder),
            None => dir.to_owned(),
        };
        local::write_directory(files, &dir, epoch, &go_on)?;
    }
    Ok(())
}
