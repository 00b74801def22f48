//! The Kamaji operator: observes, calls the libraries in order, supervises tenants, serves metrics.
//!
//! Everything that decides is in the libraries below; what is here awaits. The program is [`run`]; another program, or a
//! test, runs the controllers with a client of its own through [`manage`].

use std::process::ExitCode;

mod administrator;
mod admission;
mod backoff;
mod cache;
mod claim;
mod cli;
mod clock;
mod context;
mod controllers;
mod converge;
mod dismantle;
mod error;
mod etcd_init;
mod fence;
mod http;
mod join_command;
mod lease;
mod logging;
mod manager;
mod metrics;
pub mod migrate;
mod migration;
mod place;
mod references;
mod report;
mod session;
mod stores;
mod takeover;
mod tenants;
mod upgrade;
mod world;

pub use admission::Options as AdmissionOptions;
pub use cli::{
    Cli, Command, Encoder, EtcdInitArgs, JoinCommandArgs, ManagerArgs, MigrateArgs, TakeoverCheckArgs,
    TakeoverCommand, UpgradeCommand, UpgradePlanArgs, UserCommand,
};
pub use context::{FIELD_MANAGER, Settings};
pub use join_command::{JoinCommand, JoinError, JoinRequest, NotJoinable, TimeToLive, join_command};
pub use manager::{Options, manage};
pub use migration::Settings as MigrationSettings;
pub use takeover::{TakeoverQuestion, TakeoverReport, takeover_check};
pub use upgrade::plan::{UpgradePlan, UpgradeQuestion, upgrade_plan};

/// Does what the command line says, and returns with which code the program ends.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Another provider cannot have been installed: this is the first thing that the program does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match cli.command {
        Command::Manager(args) => Box::pin(manager::run(*args)).await,
        Command::EtcdInit(args) => etcd_init::run(args).await,
        Command::Migrate(args) => Box::pin(migrate::run(args)).await,
        Command::Takeover { command: TakeoverCommand::Check(args) } => {
            return Box::pin(takeover::run(args)).await;
        }
        Command::User(UserCommand::Upgrade { command: UpgradeCommand::Plan(args) }) => {
            return Box::pin(upgrade::plan::run(args)).await;
        }
        Command::User(UserCommand::JoinCommand(args)) => Box::pin(join_command::run(args)).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
