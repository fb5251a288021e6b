//! DeleteGroups: groups without members, with their positions.

use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

use crate::kafka::{
    door::Door,
    shape::{Field, TEXTS},
};

pub(in crate::kafka) static SHAPE: &[Field] = &[TEXTS];

/// Deletes each by itself.
pub(super) async fn delete(door: &Door, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let deleted = door.broker.delete_group(&group).await;
        let code = deleted.err().map_or(0, |error| door.refuse_group(&error));
        results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}
