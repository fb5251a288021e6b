//! ApiVersions: what can be asked here, and in which versions.

use kafka_protocol::{
    ResponseError,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion},
};

use super::{
    api::{APIS, Api},
    door::Door,
    request::Head,
    shape::{Field, TEXT},
};

pub(super) static SHAPE: &[Field] = &[TEXT.since(3), TEXT.since(3)];

/// All APIs.
pub(super) fn list(request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let (name, version) = (&request.client_software_name, &request.client_software_version);
    tracing::trace!(%name, %version, "a Kafka client introduced itself");
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(range).collect())
}

/// The answer to a version of the question that is not known: in version 0, with the versions that are. Whoever
/// asked tries again with one of them.
pub(super) fn refuse(door: &Door, head: Head) -> (Head, ApiVersionsResponse) {
    let own = APIS.iter().filter(|api| api.key == head.key).map(range).collect();
    let code = door.counts.error(ResponseError::UnsupportedVersion);
    let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(own);
    (Head { version: 0, ..head }, response)
}

fn range(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.named_from)
        .with_max_version(*api.versions.end())
}
