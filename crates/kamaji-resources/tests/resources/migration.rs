//! The Job of a migration: what it is given, and that it is given no more.

use std::time::Duration;

use kamaji_api::TenantId;
use kamaji_resources::migration::{Cleanup, Migration};

use crate::pod_security::violations;

fn tenant() -> TenantId {
    TenantId {
        namespace: "teams".into(),
        name: "blue".into(),
        uid: "4746b6dc-a96d-4b56-9a1c-e561fad1fc10".into(),
    }
}

fn migration(tenant: &TenantId) -> Migration<'_> {
    Migration {
        tenant,
        target: "silver",
        namespace: "kamaji-system",
        image: "docker.io/clastix/kamaji:v1",
        service_account: "kamaji-controller-manager",
        timeout: Duration::from_mins(5),
        cleanup: Cleanup::Refused,
    }
}

#[test]
fn the_job_is_told_what_the_go_operator_tells_it_and_where_its_secret_is() {
    let tenant = tenant();
    let migration = migration(&tenant);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_yaml_snapshot!("migration-job", migration.job());
    });
    let secret = migration.secret(b"{}".to_vec());
    assert_eq!(secret.metadata, migration.job().metadata);
    assert_eq!(secret.data.unwrap()["route.json"].0, b"{}");
}

#[test]
fn the_job_has_no_token_and_passes_the_restricted_profile() {
    let tenant = tenant();
    let pod = migration(&tenant).job().spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(violations(&pod), Vec::<String>::new());
}

#[test]
fn what_was_left_by_an_earlier_migration_goes_only_if_that_is_wished() {
    let tenant = tenant();
    let allowed = Migration { cleanup: Cleanup::Allowed, ..migration(&tenant) };
    let container = allowed.job().spec.unwrap().template.spec.unwrap().containers.remove(0);
    let arguments = container.args.unwrap();
    assert!(arguments.contains(&"--cleanup-prior-migration=true".to_owned()), "{arguments:?}");
}
