//! What is to be replicated: rules, changes, jobs, and what was brought.

use oci::Digest;
use serde::Serialize;

use super::database::Meta;
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::sql::{from_sql, json};
use crate::clock::now;
use crate::name::RepositoryName;

/// A rule as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSetup {
    /// Its name.
    pub name: String,
    /// Another one when it means something else than before.
    pub fingerprint: String,
    /// Whether changes here are told to it.
    pub on_event: bool,
    /// Whether it rests: what changes meanwhile is found by a comparison later.
    pub disabled: bool,
}

/// How a rule is doing. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleState {
    /// When both sides were compared last.
    pub compared_at: Option<i64>,
    /// When something was done last, or was found to be the same.
    pub succeeded_at: Option<i64>,
    /// When something failed last.
    pub failed_at: Option<i64>,
    /// With what, unless all has succeeded since.
    pub error: Option<String>,
    /// Jobs that are left.
    pub left: u64,
    /// Those of them that failed before.
    pub failing: u64,
    /// When the first of them is due.
    pub due: Option<i64>,
}

/// Something of a repository that changed, or that a rule is to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The rule; empty for what is for no rule in particular.
    pub rule: String,
    /// The repository, as it is called where it comes from.
    pub repository: String,
    /// A tag, or the digest of a manifest.
    pub reference: String,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// The repository, as it is called where it comes from.
    pub repository: String,
    /// A tag, or the digest of a manifest.
    pub reference: String,
    /// Which generation of it this is.
    pub generation: i64,
    /// How often it failed.
    pub attempts: u32,
}

/// What is known of a tag now that its job is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// As before.
    Same,
    /// The other side has this.
    Has(String),
    /// The other side has nothing of ours.
    Gone,
}

/// A tag here, and what a rule has brought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagState {
    /// The tag.
    pub tag: String,
    /// What it points to here.
    pub digest: String,
    /// What was brought.
    pub done: Option<String>,
}

impl Meta {
    /// Sets the rules up; those that are not among them are forgotten with all that they left.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn set_replication_rules(&self, rules: Vec<RuleSetup>) -> Result<(), MetaError> {
        self.writer
            .run(move |c| Box::pin(set_rules(c, rules)), |()| {})
            .await
    }

    /// How a rule is doing.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replication_state(&self, rule: &str) -> Result<RuleState, MetaError> {
        type Row = (Option<i64>, Option<i64>, Option<i64>, Option<String>);
        let row: Option<Row> = query_as(
            "SELECT compared_at, succeeded_at, failed_at, error
             FROM replication_rules WHERE name = ?",
        )
        .bind(rule.to_owned())
        .fetch_optional(&self.readers)
        .await?;
        let (compared_at, succeeded_at, failed_at, error) = row.unwrap_or_default();
        let (left, due, failing): (i64, Option<i64>, i64) = query_as(
            "SELECT count(*), min(due),
                    (SELECT count(*) FROM replication_jobs WHERE rule = ?1 AND attempts > 0)
             FROM replication_jobs WHERE rule = ?1",
        )
        .bind(rule.to_owned())
        .fetch_one(&self.readers)
        .await?;
        Ok(RuleState {
            compared_at,
            succeeded_at,
            failed_at,
            error,
            left: from_sql(left),
            failing: from_sql(failing),
            due,
        })
    }

    /// The `n` oldest changes, and the number of the last one of them.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replication_changes(&self, n: u32) -> Result<(Vec<Changed>, i64), MetaError> {
        let rows: Vec<(i64, String, String)> = query_as(
            "SELECT id, repository, reference FROM replication_changes ORDER BY id LIMIT ?",
        )
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        let last = rows.last().map_or(0, |(id, ..)| *id);
        let changes = rows.into_iter().map(|(_, repository, reference)| Changed {
            rule: String::new(),
            repository,
            reference,
        });
        Ok((changes.collect(), last))
    }

    /// Whether there are changes that no rule was told of yet.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn has_replication_changes(&self) -> Result<bool, MetaError> {
        Ok(
            query_scalar("SELECT EXISTS (SELECT 1 FROM replication_changes)")
                .fetch_one(&self.readers)
                .await?,
        )
    }

    /// Makes jobs, and forgets the changes up to number `last`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn add_replication_jobs(
        &self,
        jobs: Vec<Changed>,
        last: i64,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |c| Box::pin(add_jobs(c, jobs, last)), |()| {})
            .await
    }

    /// The `n` jobs of a rule that are due first, of those that are due.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn due_replication_jobs(&self, rule: &str, n: u32) -> Result<Vec<Job>, MetaError> {
        let rows: Vec<(i64, String, String, i64, u32)> = query_as(
            "SELECT id, repository, reference, generation, attempts FROM replication_jobs
             WHERE rule = ? AND due <= ? ORDER BY due, id LIMIT ?",
        )
        .bind(rule.to_owned())
        .bind(now())
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        let jobs = rows
            .into_iter()
            .map(|(id, repository, reference, generation, attempts)| Job {
                id,
                repository,
                reference,
                generation,
                attempts,
            });
        Ok(jobs.collect())
    }

    /// Notes that a job is done.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn finish_replication_job(
        &self,
        rule: &str,
        job: Job,
        known: Known,
    ) -> Result<(), MetaError> {
        let rule = rule.to_owned();
        self.writer
            .run(move |c| Box::pin(finish_job(c, rule, job, known)), |()| {})
            .await
    }

    /// Notes that a job failed, and when it is tried again; `counted` says whether it was its own
    /// fault.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn fail_replication_job(
        &self,
        rule: &str,
        job: &Job,
        error: &str,
        due: i64,
        counted: bool,
    ) -> Result<(), MetaError> {
        let (rule, id, error) = (rule.to_owned(), job.id, error.to_owned());
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query(
                            "UPDATE replication_jobs
                             SET attempts = attempts + ?, due = ?, error = ? WHERE id = ?",
                        )
                        .bind(counted)
                        .bind(due)
                        .bind(error.clone())
                        .bind(id)
                        .execute(&mut *c)
                        .await?;
                        note_failure(c, rule, error).await
                    })
                },
                |()| {},
            )
            .await
    }

    /// Notes how a comparison of both sides ended.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn note_replication_compared(
        &self,
        rule: &str,
        error: Option<String>,
    ) -> Result<(), MetaError> {
        let rule = rule.to_owned();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        if let Some(error) = error {
                            return note_failure(c, rule, error).await;
                        }
                        query("UPDATE replication_rules SET compared_at = ? WHERE name = ?")
                            .bind(now())
                            .bind(rule.clone())
                            .execute(&mut *c)
                            .await?;
                        note_success(c, rule).await
                    })
                },
                |()| {},
            )
            .await
    }

    /// Lets a rule try all of its jobs again now.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn hasten_replication(&self, rule: &str) -> Result<(), MetaError> {
        let rule = rule.to_owned();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query("UPDATE replication_jobs SET due = 0 WHERE rule = ?")
                            .bind(rule)
                            .execute(c)
                            .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }

    /// Has a rule compare both sides as if it never had.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn forget_replication_compared(&self, rule: &str) -> Result<(), MetaError> {
        let rule = rule.to_owned();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query("UPDATE replication_rules SET compared_at = NULL WHERE name = ?")
                            .bind(rule)
                            .execute(c)
                            .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }

    /// What a rule has brought of a tag.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replication_done(
        &self,
        rule: &str,
        repository: &str,
        tag: &str,
    ) -> Result<Option<String>, MetaError> {
        Ok(query_scalar(
            "SELECT digest FROM replication_done WHERE rule = ? AND repository = ? AND tag = ?",
        )
        .bind(rule.to_owned())
        .bind(repository.to_owned())
        .bind(tag.to_owned())
        .fetch_optional(&self.readers)
        .await?)
    }

    /// Up to `n` of the tags that a rule has brought, after one of a repository, in order.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replication_done_after(
        &self,
        rule: &str,
        (repository, tag): (&str, &str),
        n: u32,
    ) -> Result<Vec<(String, String)>, MetaError> {
        Ok(query_as(
            "SELECT repository, tag FROM replication_done
             WHERE rule = ? AND (repository, tag) > (?, ?) ORDER BY repository, tag LIMIT ?",
        )
        .bind(rule.to_owned())
        .bind(repository.to_owned())
        .bind(tag.to_owned())
        .bind(n)
        .fetch_all(&self.readers)
        .await?)
    }

    /// Up to `n` tags of a repository here that sort after `last`, with what a rule has brought of
    /// each of them from `source`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replicated_tags(
        &self,
        rule: &str,
        repository: &str,
        source: &str,
        last: &str,
        n: u32,
    ) -> Result<Vec<TagState>, MetaError> {
        let rows: Vec<(String, String, Option<String>)> = query_as(
            "SELECT t.name, m.digest, d.digest FROM repositories r
             JOIN tags t ON t.repository_id = r.id
             JOIN manifests m ON m.id = t.manifest_id
             LEFT JOIN replication_done d
               ON d.rule = ? AND d.repository = ? AND d.tag = t.name
             WHERE r.name = ? AND t.name > ? ORDER BY t.name LIMIT ?",
        )
        .bind(rule.to_owned())
        .bind(source.to_owned())
        .bind(repository.to_owned())
        .bind(last.to_owned())
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        let tags = rows
            .into_iter()
            .map(|(tag, digest, done)| TagState { tag, digest, done });
        Ok(tags.collect())
    }

    /// Whether an index of a repository lists a manifest.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn is_listed(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, MetaError> {
        Ok(query_scalar(
            "SELECT EXISTS (SELECT 1 FROM repositories r JOIN manifest_children c
                 ON c.repository_id = r.id AND c.child_digest = ? WHERE r.name = ?)",
        )
        .bind(digest.to_string())
        .bind(repository.as_str())
        .fetch_one(&self.readers)
        .await?)
    }

    /// Up to `n` repositories that show a blob and of which a rule has brought something.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn replicated_with(
        &self,
        rule: &str,
        blob: &str,
        n: u32,
    ) -> Result<Vec<String>, MetaError> {
        Ok(query_scalar(
            "SELECT r.name FROM blobs b
             JOIN repository_blobs rb ON rb.blob_id = b.id
             JOIN repositories r ON r.id = rb.repository_id
             WHERE b.digest = ? AND EXISTS (
                 SELECT 1 FROM replication_done d WHERE d.rule = ? AND d.repository = r.name)
             LIMIT ?",
        )
        .bind(blob.to_owned())
        .bind(rule.to_owned())
        .bind(n)
        .fetch_all(&self.readers)
        .await?)
    }
}

async fn set_rules(c: &mut Connection, rules: Vec<RuleSetup>) -> Result<(), MetaError> {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    query("DELETE FROM replication_rules WHERE name NOT IN (SELECT value FROM json_each(?))")
        .bind(json(&names)?)
        .execute(&mut *c)
        .await?;
    for rule in rules {
        query("DELETE FROM replication_rules WHERE name = ? AND fingerprint <> ?")
            .bind(rule.name.clone())
            .bind(rule.fingerprint.clone())
            .execute(&mut *c)
            .await?;
        query(
            "INSERT INTO replication_rules (name, fingerprint, on_event) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET on_event = excluded.on_event",
        )
        .bind(rule.name.clone())
        .bind(rule.fingerprint)
        .bind(rule.on_event && !rule.disabled)
        .execute(&mut *c)
        .await?;
        if rule.disabled {
            query("UPDATE replication_rules SET compared_at = NULL WHERE name = ?")
                .bind(rule.name)
                .execute(&mut *c)
                .await?;
        }
    }
    // Nobody would ever take them.
    query(
        "DELETE FROM replication_changes
         WHERE NOT EXISTS (SELECT 1 FROM replication_rules WHERE on_event = 1)",
    )
    .execute(c)
    .await?;
    Ok(())
}

async fn add_jobs(c: &mut Connection, jobs: Vec<Changed>, last: i64) -> Result<(), MetaError> {
    query(
        "INSERT INTO replication_jobs (rule, repository, reference)
         SELECT DISTINCT n.name, value ->> 'repository', value ->> 'reference'
         FROM json_each(?) JOIN replication_rules n ON n.name = value ->> 'rule' WHERE true
         ON CONFLICT (rule, repository, reference)
         DO UPDATE SET generation = replication_jobs.generation + 1, attempts = 0, due = 0",
    )
    .bind(json(&jobs)?)
    .execute(&mut *c)
    .await?;
    query("DELETE FROM replication_changes WHERE id <= ?")
        .bind(last)
        .execute(c)
        .await?;
    Ok(())
}

async fn finish_job(
    c: &mut Connection,
    rule: String,
    job: Job,
    known: Known,
) -> Result<(), MetaError> {
    match known {
        Known::Same => {}
        Known::Has(digest) => {
            query(
                "INSERT INTO replication_done (rule, repository, tag, digest)
                 SELECT name, ?2, ?3, ?4 FROM replication_rules WHERE name = ?1
                 ON CONFLICT (rule, repository, tag) DO UPDATE SET digest = excluded.digest",
            )
            .bind(rule.clone())
            .bind(job.repository)
            .bind(job.reference)
            .bind(digest)
            .execute(&mut *c)
            .await?;
        }
        Known::Gone => {
            query("DELETE FROM replication_done WHERE rule = ? AND repository = ? AND tag = ?")
                .bind(rule.clone())
                .bind(job.repository)
                .bind(job.reference)
                .execute(&mut *c)
                .await?;
        }
    }
    query("DELETE FROM replication_jobs WHERE id = ? AND generation = ?")
        .bind(job.id)
        .bind(job.generation)
        .execute(&mut *c)
        .await?;
    note_success(c, rule).await
}

/// What failed before is not told any more once nothing of it is left.
async fn note_success(c: &mut Connection, rule: String) -> Result<(), MetaError> {
    query(
        "UPDATE replication_rules SET succeeded_at = ?2, error = CASE
             WHEN EXISTS (SELECT 1 FROM replication_jobs WHERE rule = ?1 AND attempts > 0)
             THEN error END
         WHERE name = ?1",
    )
    .bind(rule)
    .bind(now())
    .execute(c)
    .await?;
    Ok(())
}

async fn note_failure(c: &mut Connection, rule: String, error: String) -> Result<(), MetaError> {
    query("UPDATE replication_rules SET failed_at = ?, error = ? WHERE name = ?")
        .bind(now())
        .bind(error)
        .bind(rule)
        .execute(c)
        .await?;
    Ok(())
}
