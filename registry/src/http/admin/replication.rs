//! How replication is doing, and a rule told to hurry.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::shown::show;
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::replication::{ReplicationError, RuleReport};
use crate::service::ServiceError;

/// All rules.
pub(super) async fn rules(api: &Api) -> Result<Response, ApiError> {
    show(&report(api).await?)
}

/// One rule, which compares both sides and tries again what failed.
pub(super) async fn run(api: &Api, name: &str) -> Result<Response, ApiError> {
    let unknown = || ReplicationError::Unknown(name.to_owned());
    let hurried = match &api.replication {
        Some(replication) => replication.hurry(name).await,
        None => Err(unknown()),
    };
    match hurried {
        Ok(()) => {}
        Err(ReplicationError::Meta(e)) => return Err(ServiceError::from(e).into()),
        Err(e) => {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "UNSUPPORTED",
                e.to_string(),
                Value::Null,
            ));
        }
    }
    let rule = report(api)
        .await?
        .into_iter()
        .find(|rule| rule.name == name);
    show(&rule)
}

async fn report(api: &Api) -> Result<Vec<RuleReport>, ApiError> {
    match &api.replication {
        Some(replication) => Ok(replication.report().await.map_err(ServiceError::from)?),
        None => Ok(Vec::new()),
    }
}
