//! `consume` as a member of a group.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use crate::{
    partitions::{consume, server},
    program::{CONSUME, MINIKAFKA, Program, run},
    server::TestServer,
};

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_group_goes_on_where_it_has_come_to() {
    let server = server();
    let first = consume(&server, &["-group", "g", "-count", "4"]);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    let second = consume(&server, &["-group", "g", "-count", "5"]);
    assert_eq!(second.code, 0);
    assert_eq!(first.text().lines().count() + second.text().lines().count(), 9);
    let both = lines(&format!("{}{}", first.text(), second.text()));
    assert_eq!(both.len(), 9, "each once: {both:?}");
    // Another group begins at the beginning.
    assert_eq!(consume(&server, &["-group", "h", "-count", "9"]).text().lines().count(), 9);
}

#[test]
fn a_number_says_nothing_about_several_partitions() {
    let server = server();
    let ended = consume(&server, &["-group", "g", "-from", "2", "-count", "1"]);
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
    let expected = "consume: topic \"t\" has several partitions, each with numbers of its own: start at earliest, latest or a time\n";
    assert_eq!(ended.stderr, expected);
}

#[test]
fn ctrl_c_commits_what_was_printed_and_leaves() {
    let server = server();
    let args = ["-host", server.host(), "-topic", "t", "-group", "g", "-commit-interval", "1h"];
    let mut one = Program::start(CONSUME, &args);
    let printed: BTreeSet<_> = (0..9).map(|_| one.line()).collect();
    assert_eq!(printed.len(), 9);
    one.signal("INT");
    assert_eq!(one.end().code, 0);
    // The next one need not wait for the session of the first to time out, and reads what is new.
    let mut two = Program::start(CONSUME, &args);
    server.produce_to("t", 1, &["1/4".to_owned()]);
    assert_eq!(two.line(), "1/4");
    two.signal("INT");
    let ended = two.end();
    assert_eq!((ended.code, ended.text().as_str(), ended.stderr.as_str()), (0, "", ""));
}

#[test]
fn members_share_what_comes() {
    let server = server();
    let args = ["-host", server.host(), "-topic", "t", "-group", "g"];
    let mut one = Program::start(CONSUME, &args);
    (0..9).for_each(|_| drop(one.line()));
    let mut two = Program::start(CONSUME, &args);
    // Until both have a share: messages to all partitions, each printed by one of them.
    for number in 4.. {
        for partition in 0..3 {
            server.produce_to("t", partition, &[format!("{partition}/{number}")]);
        }
        let (mut of_one, mut of_two) = (0, 0);
        while of_one + of_two < 3 {
            if one.try_line().is_some() {
                of_one += 1;
            }
            if two.try_line().is_some() {
                of_two += 1;
            }
        }
        if of_one > 0 && of_two > 0 {
            break;
        }
    }
    for member in [one, two] {
        member.signal("INT");
        assert_eq!(member.end().code, 0);
    }
}

/// A member that has printed three messages and committed none, and whose server is gone.
fn deserted_member() -> Program {
    let mut server = TestServer::filesystem();
    server.produce("t", "1\n2\n3\n");
    let args = ["-host", server.host(), "-topic", "t", "-group", "g", "-commit-interval", "1h"];
    let mut member = Program::start(CONSUME, &args);
    (1..=3).for_each(|number| assert_eq!(member.line(), number.to_string()));
    server.stop();
    member.says("trying again");
    member.signal("INT");
    member.says("no answer to the commit yet; trying for 10s more, Ctrl-C ends that");
    member
}

#[test]
fn ctrl_c_without_a_server_says_what_may_come_again_and_fails() {
    let ended = deserted_member().end();
    assert_eq!((ended.code, ended.text().as_str()), (1, ""));
    let start = "consume: the last positions of group \"g\" are not committed: ";
    assert!(ended.stderr.starts_with(start), "{}", ended.stderr);
    let end = "; what was printed since the last commit may come again: messages 1 to 3 of partition 0 of topic \"t\"\n";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
}

#[test]
fn a_second_ctrl_c_ends_a_member_at_once() {
    let member = deserted_member();
    member.signal("INT");
    let ended = member.end();
    assert_eq!((ended.code, ended.text().as_str()), (130, ""));
    let said = "consume: interrupted again: the last positions are not committed; what was printed since the last commit may come again\n";
    assert_eq!(ended.stderr, said);
}

/// Whether group "g" has stored this number for partition 0 of topic "t".
fn describes_position(server: &TestServer, number: u64) -> bool {
    let args = ["group", "describe", "g", "-output", "json", "-host", server.host()];
    let described: serde_json::Value = serde_json::from_str(&run(MINIKAFKA, &args, b"").text()).unwrap();
    described["positions"][0]["number"] == number
}

#[test]
fn ctrl_c_without_a_server_is_fine_when_all_is_committed() {
    let mut server = TestServer::filesystem();
    server.produce("t", "1\n2\n");
    let args = ["-host", server.host(), "-topic", "t", "-group", "g", "-commit-interval", "1ms"];
    let ended = consume(&server, &["-group", "g", "-count", "2"]);
    assert_eq!((ended.code, ended.text().as_str()), (0, "1\n2\n"), "{}", ended.stderr);
    let mut member = Program::start(CONSUME, &args);
    server.produce("t", "3\n");
    assert_eq!(member.line(), "3");
    while !describes_position(&server, 4) {}
    server.stop();
    member.says("trying again");
    member.signal("INT");
    let ended = member.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[test]
fn ctrl_c_ends_a_member_as_well_when_nobody_reads_its_output() {
    let server = TestServer::memory();
    server.produce("t", &"a line\n".repeat(200_000));
    let args = ["-host", server.host(), "-topic", "t", "-group", "g"];
    let mut member =
        Command::new(CONSUME).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Once the first byte is there, it is writing more than a pipe takes.
    member.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // Two that come at once may count as one.
    while member.try_wait().unwrap().is_none() {
        let id = member.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    }
    assert_eq!(member.wait().unwrap().code(), Some(130));
    let mut said = String::new();
    member.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("consume: interrupted again: the last positions are not committed; "), "{said}");
}

#[test]
fn a_member_whose_reader_has_enough_leaves_and_the_rest_is_for_others() {
    let server = TestServer::memory();
    server.produce("t", &"a line\n".repeat(200_000));
    let args = ["-host", server.host(), "-topic", "t", "-group", "g"];
    let mut member = Command::new(CONSUME).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = member.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 7]).unwrap();
    drop(stdout);
    assert_eq!(member.wait().unwrap().code(), Some(0));
    let args = ["group", "describe", "g", "-output", "json", "-host", server.host()];
    let described = run(MINIKAFKA, &args, b"");
    // Without members and positions it is no group.
    let is_gone = described.stderr.contains("not found");
    assert!(
        is_gone || described.text().contains("\"members\": []"),
        "{}{}",
        described.text(),
        described.stderr
    );
}

#[test]
fn ctrl_c_commits_what_was_printed_also_when_nobody_can_read_stderr() {
    let mut server = TestServer::filesystem();
    server.produce("t", "1\n2\n3\n");
    let args = ["-host", server.host(), "-topic", "t", "-group", "g", "-commit-interval", "1h"];
    let mut member =
        Command::new(CONSUME).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(member.stderr.take().unwrap()).lines();
    let mut stdout = BufReader::new(member.stdout.take().unwrap()).lines();
    (1..=3).for_each(|number| assert_eq!(stdout.next().unwrap().unwrap(), number.to_string()));
    server.stop();
    assert!(stderr.next().unwrap().unwrap().contains("trying again"));
    // What it says when the server is there again goes nowhere.
    drop(stderr);
    server.start_again();
    server.produce("t", "4\n");
    assert_eq!(stdout.next().unwrap().unwrap(), "4");
    assert!(Command::new("kill").args(["-s", "INT", &member.id().to_string()]).status().unwrap().success());
    assert_eq!(member.wait().unwrap().code(), Some(0));
    assert!(describes_position(&server, 5));
}
