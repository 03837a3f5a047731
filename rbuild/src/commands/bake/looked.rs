//! Targets whose Dockerfiles are looked at, in place of building them: `--call`.

use std::collections::BTreeMap;
use std::path::Path;

use bake::plan::Plan;
use bake::target::Target;
use serde_json::{Map, Value, json};

use super::oven::{Oven, method, of_target};
use crate::commands::build;
use crate::failure::{Failure, Outcome};

impl Oven<'_> {
    /// Looks at targets one after the other, whatever is wrong with one of them. For programs there
    /// is one document, as buildx has it.
    pub async fn look_at(
        &self,
        targets: &[&Target],
        built: &BTreeMap<String, String>,
        (dir, metadata): (&Path, &mut Map<String, Value>),
    ) -> Outcome {
        let json = self.args.call.json;
        let mut failed = None;
        let mut answers = BTreeMap::new();
        for (at, target) in targets.iter().enumerate() {
            let method = method(target).unwrap_or("check");
            let call = format!("--call={method}{}", self.call_options());
            let mut flags = self.flags(target, (built, dir), call).await?;
            let told = dir.join(format!("{}.answer", target.name));
            flags.metadata_file = self.args.metadata_file.as_ref().map(|_| told.clone());
            let done = if json {
                let (app, kept) = self.app.keeping_results();
                let done = build::run(&app, flags).await;
                app.settle().await;
                answers.insert(target.name.clone(), answer(&kept.take(), &done));
                done
            } else {
                self.head(target, at == 0);
                build::run(self.app, flags).await
            };
            // Of what could not be looked at there is none.
            if let Ok(bytes) = tokio::fs::read(&told).await {
                metadata.insert(target.name.clone(), serde_json::from_slice(&bytes)?);
            }
            if let Err(failure) = done {
                let failure = of_target(&target.name, failure);
                failed.get_or_insert(failure.code);
                self.app.tell(&failure);
            }
        }
        if json {
            let document = document(self.plan, &answers)?;
            let text = serde_json::to_string_pretty(&document)?;
            self.app.printer.line(text);
        }
        match failed {
            Some(code) => Err(Failure::with_code("", code)),
            None => Ok(()),
        }
    }

    fn head(&self, target: &Target, first: bool) {
        let printer = &self.app.printer;
        if !first {
            printer.line("");
        }
        printer.line(&target.name);
        if !target.description.is_empty() {
            printer.line(&target.description);
        }
        printer.line("");
    }

    fn call_options(&self) -> String {
        let call = self.args.call;
        let mut options = String::new();
        if call.json {
            options.push_str(",format=json");
        }
        if call.ignore_status {
            options.push_str(",ignorestatus=true");
        }
        options
    }
}

/// What was found of a target, and why it could not be.
fn answer(told: &[u8], done: &Outcome) -> Value {
    let mut answer = match serde_json::from_slice(told) {
        Ok(Value::Object(answer)) => answer,
        _ => Map::new(),
    };
    if let Err(failure) = done
        && !failure.message.is_empty()
    {
        answer.insert("error".to_owned(), json!(failure.message));
    }
    Value::Object(answer)
}

/// The groups, and of each target what it says and what was found.
fn document(plan: &Plan, answers: &BTreeMap<String, Value>) -> Result<Value, Failure> {
    let shown = plan.print().map_err(|e| Failure::new(e.told(&[])))?;
    let mut document: Value = serde_json::from_str(&shown)?;
    let targets = document.get_mut("target").and_then(Value::as_object_mut);
    for (name, shown) in targets.into_iter().flatten() {
        let mut one = Map::from_iter([("build".to_owned(), shown.take())]);
        let method = plan.targets.get(name).and_then(method);
        if let (Some(method), Some(answer)) = (method, answers.get(name)) {
            let method = if method == "lint" { "check" } else { method };
            one.insert(method.to_owned(), answer.clone());
        }
        *shown = Value::Object(one);
    }
    Ok(document)
}
