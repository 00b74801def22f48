//! Whatever stands in keys, values, names and passwords, MariaDB is told the same statements, and no password.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kamaji_datastore::{
    MySql as Driver,
    account::{Account, Credential, Owner, Password},
    migrate::{Migration, Token},
};
use kamaji_e2e::mariadb::{MariaDb, OPERATOR, PASSWORD, Statements};

use crate::{
    Kind, Lab, account, advance, finish,
    server::{Amount, Content, Server, assert_contents, mysql},
};

/// What people have tried on others' databases: keys, values, and parts of passwords.
const CORPUS: [&str; 16] = [
    "'; DROP TABLE kine; -- x",
    "\\'; DROP TABLE kine; -- x",
    "' OR '1'='1",
    "\"; SELECT 1; -- x",
    "`; DROP DATABASE mysql; -- x",
    "') , (1, 'x') -- x",
    "/*! SELECT 1 */",
    "/*M! SELECT 1 */",
    "?",
    "{database}",
    "@@version",
    "%",
    "_",
    "\\",
    "a#b",
    "X'41'",
];

/// So many keys; each holds itself.
fn contents(keys: impl Iterator<Item = String>) -> BTreeMap<String, Content> {
    keys.map(|key| (format!("configmaps/{key}"), Content { value: key.into_bytes(), expires: false }))
        .collect()
}

/// A server's own log since it had so many lines: what the operator's sessions were told before anything was bound.
fn told(server: &Server, since: usize) -> Result<Vec<String>> {
    let Server::MySql(mariadb) = server else { unreachable!("as started") };
    let log = mariadb.log()?;
    let (mut ours, mut told) = (BTreeSet::new(), Vec::new());
    for (line, text) in log.lines().enumerate() {
        // A time and a tab, or two tabs if it is that of the line before; a number and a command, a tab, and its text.
        let rest = text.strip_prefix("\t\t").or_else(|| text.split_once('\t').map(|(_, rest)| rest));
        let Some((head, text)) = rest.and_then(|rest| rest.split_once('\t')) else { continue };
        let Some((number, command)) = head.trim().split_once(' ') else { continue };
        assert!(
            !ours.contains(number) || !(text.contains("secret") || text.contains(PASSWORD)),
            "a password in the log: {text}"
        );
        match command {
            "Connect" if text.starts_with(OPERATOR) => drop(ours.insert(number.to_owned())),
            "Connect" => drop(ours.remove(number)),
            "Query" | "Prepare" if line >= since && ours.contains(number) => told.push(text.to_owned()),
            _ => {}
        }
    }
    Ok(told)
}

fn lines(server: &Server) -> Result<usize> {
    let Server::MySql(mariadb) = server else { unreachable!("as started") };
    Ok(mariadb.log()?.lines().count())
}

/// A statement without the names of these accounts, and without what is only data: hexadecimal, verifiers, numbers.
fn nameless(text: &str, accounts: &[Account; 2]) -> Result<String> {
    if text.starts_with("KILL ") {
        return Ok("KILL".to_owned());
    }
    let mut text = text.to_owned();
    for account in accounts {
        let (schema, user) = (account.schema.as_str(), account.user.as_str());
        for quoted in [Driver::quote_pattern(schema)?, Driver::quote_identifier(schema)?] {
            text = text.replace(&quoted, "{schema}");
        }
        text = text.replace(&Driver::quote_identifier(user)?, "{user}");
    }
    let (mut nameless, mut is_data) = (String::new(), false);
    for (number, piece) in text.split('\'').enumerate() {
        nameless.push_str(if number % 2 == 1 && is_data { "{data}" } else { piece });
        is_data = piece.ends_with(" X") || piece.ends_with("USING ");
        nameless.push('\'');
    }
    Ok(nameless)
}

/// A tenant with these contents is moved, once in vain and once for good, and both places are removed.
async fn statements(
    lab: &Lab,
    accounts: &[Account; 2],
    contents: &BTreeMap<String, Content>,
) -> Result<BTreeSet<String>> {
    let before = [lines(&lab.from)?, lines(&lab.to)?];
    let [source, target] = accounts;
    let Server::MySql(mariadb) = &lab.from else { unreachable!("as started") };
    lab.from.store()?.ensure(source).await?;
    mysql::fill(mariadb, source, contents).await?;
    let migration = |token: &str| -> Result<Migration> {
        let token = Token::parse(token)?;
        Ok(Migration::new(lab.from.home(source)?, lab.to.home(target)?, token)?)
    };
    let aborted = migration("aborted")?;
    assert!(advance(&aborted, 6).await?);
    aborted.abort().await?;
    aborted.discard_target().await?;
    let migration = migration("first")?;
    finish(&migration).await?;
    assert_contents(&lab.to.contents(target).await?, contents);
    migration.drop_source().await?;
    lab.to.store()?.remove(target).await?;
    let told = [told(&lab.from, before[0])?, told(&lab.to, before[1])?].concat();
    told.iter().map(|text| nameless(text, accounts)).collect()
}

fn accounts(name: &str, password: &str) -> Result<[Account; 2]> {
    let of = |word: &str| -> Result<Account> {
        let (owner, password) = (Owner::parse(name)?, Password::parse(password.to_owned())?);
        let plain = account(Kind::MySql, &format!("{name}{word}"));
        Ok(Account { owner, credential: Credential::Password(password), ..plain })
    };
    Ok([of("1")?, of("2")?])
}

#[tokio::test]
async fn mariadb_is_told_the_same_whatever_it_holds() -> Result<()> {
    let start = || MariaDb::start_with(Statements::All);
    let (from, to) = tokio::try_join!(start(), start())?;
    let lab = Lab { from: Server::MySql(from), to: Server::MySql(to), amount: Amount::FewPlain };
    let numbered = contents((0..CORPUS.len()).map(|number| format!("plain-{number}")));
    let plain = statements(&lab, &accounts("plain", "plain")?, &numbered).await?;
    assert!(plain.len() > 20, "{plain:#?}");
    let hostile = contents(CORPUS.into_iter().map(str::to_owned));
    for (number, name) in ["SELECT", "a--b_", "x-DROP-TABLE_kine", "0"].into_iter().enumerate() {
        let secret = format!("secret{number}'`\\\"?--;/*");
        let told = statements(&lab, &accounts(name, &secret)?, &hostile).await?;
        let more: Vec<_> = told.difference(&plain).collect();
        assert!(more.is_empty(), "{name}: {more:#?}");
    }
    let Server::MySql(target) = &lab.to else { unreachable!("as started") };
    let is_bound = |line: &str| line.contains("Execute") && line.contains("DROP TABLE kine");
    assert!(target.log()?.lines().any(is_bound), "the keys went through");
    Ok(())
}
