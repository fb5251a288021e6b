//! `minikafka shell` as a person sees it, at a terminal.

use std::path::Path;

use crate::{
    program::{MINIKAFKA, run},
    pseudo_terminal::{CTRL_C, CTRL_D, ENTER, PseudoTerminal, TAB, UP},
    server::{FreeAddress, TestServer},
};

fn shell(host: &str) -> PseudoTerminal {
    PseudoTerminal::start(MINIKAFKA, &["shell", "-host", host, "-history", "off"], &[])
}

impl PseudoTerminal {
    /// Types a line at the prompt.
    fn enter(&mut self, line: &str) {
        self.see("> ");
        self.press(line);
        self.press(ENTER);
    }

    /// Types a line, and waits for what it prints.
    fn says(&mut self, line: &str, answer: &str) {
        self.enter(line);
        // Behind the line itself.
        self.see("\n");
        self.see(&format!("{answer}\n"));
    }

    /// Polls until a message comes.
    fn polls(&mut self, message: &str) {
        self.enter("poll -wait 1m");
        self.see(&format!("\n{message}\n"));
        self.see("1 message\n");
    }
}

#[test]
fn a_person_is_led_from_the_first_command_to_the_last() {
    let server = TestServer::memory();
    let host = server.host();
    let mut shell = shell(host);
    shell.see(&format!("connected to {host}\nhelp lists the commands, Ctrl-D leaves\n"));
    shell.enter("help");
    for command in ["add", "remove", "send", "subscribe", "unsubscribe", "join", "leave", "poll", "quit"] {
        shell.see(&format!("\n  {command} "));
    }
    shell.see("Ctrl-D leaves");
    shell.enter("help send");
    shell.see("send orders a book, two pens");
    shell.enter("add topic orders -partitions 2");
    shell.says("send -partition 0 orders a book, two pens", "message 1");
    shell.says("send -partition 1 orders \"two\\nlines\"", "message 1 of partition 1");
    shell.enter("subscribe orders");
    shell.says("join billing -from earliest", "member of group \"billing\", reads 2 partitions");
    shell.see(&format!("{host} billing> "));
    shell.press("poll -wait 1m -format json -count 2");
    shell.press(ENTER);
    shell.see("\"value\":");
    shell.see("\"value\":");
    shell.see("2 messages\n");
    shell.says("status", "orders          1     2");
    shell.says("poll -wait 0s", "no messages");
    shell.says("leave", "left group \"billing\"");
    shell.see(&format!("{host}> "));
    shell.press("topic describe orders");
    shell.press(ENTER);
    shell.see("partition  messages");
    shell.enter("remove topic orders");
    shell.says("topic describe orders", "topic \"orders\" not found");
    shell.see("> ");
    shell.press(CTRL_D);
    assert_eq!(shell.end(), 0);
}

#[test]
fn what_is_wrong_is_said_and_ends_nothing() {
    let server = TestServer::memory();
    let mut shell = shell(server.host());
    for (line, answer) in [
        ("frobnicate", "unrecognized command 'frobnicate'"),
        ("send orders", "<MESSAGE>"),
        ("subscribe 'demo", "the quote ' is not closed"),
        ("poll", "poll: not a member of a group: join one first"),
        ("leave", "leave: not a member of a group"),
        ("unsubscribe orders", "unsubscribe: not subscribed to topic \"orders\""),
        ("remove topic orders", "remove topic: topic \"orders\" not found"),
        ("send ../x y", "send: "),
        ("consume orders -until-end", "consume: topic \"orders\" not found"),
        ("topic list -output xml", "'xml'"),
    ] {
        shell.enter(line);
        shell.see("\n");
        shell.see(answer);
    }
    shell.enter("join g");
    shell.says("poll", "poll: nothing is subscribed to: subscribe to a topic first");
    shell.says("join h", "join: already a member of group \"g\": leave it first");
    shell.enter("exit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn ctrl_c_gives_up_a_line_and_ends_what_runs() {
    let server = TestServer::memory();
    server.produce("t", "one\n");
    let mut shell = shell(server.host());
    shell.see("> ");
    shell.press("remove topic t");
    shell.see("remove topic t");
    shell.press(CTRL_C);
    shell.enter("consume t");
    shell.see("\none\n");
    server.produce("t", "two\n");
    shell.see("two\n");
    shell.press(CTRL_C);
    shell.enter("consume t -count 1");
    shell.see("\none\n");
    shell.enter("subscribe t");
    shell.says("join g", "member of group \"g\", reads 1 partition");
    shell.enter("poll -wait 1h");
    // It waits, and nothing shows it but what it still says when a message comes.
    server.produce("t", "three\n");
    shell.see("\nthree\n");
    shell.see("1 message\n");
    shell.enter("consume 'not there'");
    shell.see("waiting for it\n");
    shell.press(CTRL_C);
    shell.see("> ");
    shell.press(CTRL_D);
    assert_eq!(shell.end(), 0);
}

#[test]
fn lines_that_are_pasted_are_run_one_by_one() {
    let server = TestServer::memory();
    let mut shell = shell(server.host());
    shell.see("> ");
    let paste = |lines: &str| format!("\x1b[200~{lines}\x1b[201~{ENTER}");
    shell.press(&paste("add topic a\radd topic b\rtopic list"));
    shell.see("a\nb\n");
    shell.see("> ");
    shell.press(&paste("consume a\rremove topic b"));
    shell.see("remove topic b\n");
    server.produce("a", "one\n");
    shell.see("one\n");
    shell.press(CTRL_C);
    shell.says("topic list", "a\nb");
}

#[test]
fn tab_completes_commands_and_names() {
    let server = TestServer::memory();
    server.create_topic("demo topic", 1);
    server.create_topic("orders", 1);
    let mut shell = shell(server.host());
    shell.see("> ");
    shell.press(&format!("unsub{TAB}"));
    shell.see("unsubscribe ");
    shell.press(&format!("ord{TAB}"));
    shell.see("orders ");
    shell.press(ENTER);
    shell.see("not subscribed to topic \"orders\"\n");
    shell.see("> ");
    shell.press(&format!("send de{TAB}"));
    shell.see("'demo topic' ");
    shell.press(&format!("hello{ENTER}"));
    shell.see("message 1\n");
    shell.see("> ");
    shell.press(&format!("topic describe {TAB}{TAB}"));
    shell.see("demo topic");
    shell.see("orders");
    shell.press(&format!("'demo{TAB}{ENTER}"));
    shell.see("partition  messages");
    shell.see("> ");
    shell.press(CTRL_D);
    assert_eq!(shell.end(), 0);
}

#[test]
fn lines_are_kept_for_the_next_shell() {
    let server = TestServer::memory();
    let state = tempfile::tempdir().unwrap();
    let start = |history: &[&str]| {
        let args = [&["shell", "-host", server.host()], history].concat();
        PseudoTerminal::start(MINIKAFKA, &args, &[("XDG_STATE_HOME", state.path().to_str().unwrap())])
    };
    let file = state.path().join("minikafka/history");
    let mut first = start(&[]);
    first.says("send t hello", "message 1");
    first.see("> ");
    first.press(&format!(" send t secret{ENTER}"));
    first.see("message 2\n");
    first.see("> ");
    // Nothing is left for the end to write.
    assert_eq!(kept(&file), ["send t hello"]);
    drop(first);
    let mut second = start(&[]);
    second.see("> ");
    second.press(UP);
    second.see("send t hello");
    second.press(ENTER);
    second.see("message 3\n");
    drop(second);
    let elsewhere = state.path().join("elsewhere");
    let mut third = start(&["-history", elsewhere.to_str().unwrap()]);
    third.says("topic list", "t");
    drop(third);
    assert_eq!(kept(&elsewhere), ["topic list"]);
    let mut fourth = start(&["-history", "off"]);
    fourth.says("topic list", "t");
    drop(fourth);
    assert_eq!(kept(&file), ["send t hello"]);
    let mut fifth = start(&["-history", "/dev/null/x"]);
    fifth.see("lines are not kept: ");
    fifth.says("topic list", "t");
}

/// The lines of a history, without what tells its version.
fn kept(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_shell_goes_on_when_the_server_was_restarted() {
    let mut server = TestServer::filesystem();
    let mut shell = shell(server.host());
    shell.says("send t one", "message 1");
    shell.enter("subscribe t");
    shell.says("join g -from earliest", "member of group \"g\", reads 1 partition");
    shell.polls("one");
    server.stop();
    shell.enter("topic list");
    shell.see("topic: cannot reach ");
    server.start_again();
    shell.says("topic list", "t");
    shell.says("send t two", "message 2");
    shell.polls("two");
    shell.enter("quit");
    assert_eq!(shell.end(), 0);
}

#[test]
fn a_shell_waits_for_a_server() {
    let address = FreeAddress::new();
    let mut shell = shell(address.host());
    shell.see("each command tries again\n");
    shell.enter("send t one");
    shell.see("send: cannot reach ");
    let _server = TestServer::memory_at(address);
    shell.says("send t one", "message 1");
}

#[test]
fn any_name_goes_and_messages_keep_their_borders() {
    let server = TestServer::memory();
    let mut shell = shell(server.host());
    for name in ["my-topic", "demo topic", "größe π", "a%20b", "a,b"] {
        shell.enter(&format!("add topic '{name}'"));
        shell.says(&format!("send '{name}' a,b [\"c\"], d"), "message 1");
        shell.says(&format!("send '{name}'"), "  <MESSAGE>");
        shell.says(&format!("send '{name}' ''"), "message 2");
        shell.enter(&format!("consume '{name}' -until-end -format json"));
        shell.see(r#""value":"a,b [\"c\"], d","#);
        shell.see(r#""value":"","#);
        shell.enter(&format!("remove topic '{name}'"));
    }
    shell.enter("add topic x");
    shell.says("topic list", "x");
    assert!(!shell.looked_at().contains("my-topic\nx"), "{}", shell.looked_at());
}

#[test]
fn shells_share_a_group_while_nobody_polls() {
    let server = TestServer::memory();
    server.create_topic("t", 2);
    let (mut one, mut two) = (shell(server.host()), shell(server.host()));
    one.enter("subscribe t");
    one.says("join g", "member of group \"g\", reads 2 partitions");
    // A command that goes on is no reason to keep what others are to have, nor is a prompt.
    server.produce("u", "of u\n");
    one.enter("consume u");
    one.see("\nof u\n");
    two.enter("subscribe t");
    two.says("join g", "member of group \"g\", reads 1 partition");
    for partition in 0..2 {
        server.produce_to("t", partition, &["hello".to_owned()]);
    }
    two.polls("hello");
    one.press(CTRL_C);
    one.polls("hello");
    let mut three = shell(server.host());
    three.enter("subscribe t");
    three.enter("join g");
    two.press(&format!("exit{ENTER}"));
    three.see("member of group \"g\"");
    assert_eq!(two.end(), 0);
    server.produce_to("t", 0, &["to one of them".to_owned()]);
    server.produce_to("t", 1, &["to one of them".to_owned()]);
    one.polls("to one of them");
    three.polls("to one of them");
}

#[test]
fn a_sigterm_leaves_the_group_and_the_terminal_as_it_was() {
    let server = TestServer::memory();
    server.create_topic("t", 1);
    let mut shell = shell(server.host());
    shell.enter("subscribe t");
    shell.says("join g", "member of group \"g\", reads 1 partition");
    shell.see(&format!("{} g> ", server.host()));
    shell.press("half a line");
    shell.see("half a line");
    shell.signal("TERM");
    assert_eq!(shell.end(), 143);
    let described = run(MINIKAFKA, &["group", "describe", "g", "-host", server.host()], b"").text();
    assert!(described.contains("empty, 0 members"), "{described}");
}
