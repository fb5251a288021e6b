//! Messages that the server's disk has lost.

use crate::{
    program::{CONSUME, MINIKAFKA, run},
    server::TestServer,
};

#[test]
fn what_the_disk_has_lost_is_said_and_skipped() {
    let mut server = TestServer::filesystem();
    for line in ["message A", "message B", "message C", "message D"] {
        server.produce("t", &format!("{line}\n"));
    }
    server.stop();
    server.damage("message A");
    server.damage("message C");
    server.start_again();
    let consume =
        |args: &[&str]| run(CONSUME, &[&["-host", server.host(), "-topic", "t"], args].concat(), b"");
    let said = |number, next| {
        format!("consume: message {number} is lost to damage of the server's disk; going on at {next}\n")
    };
    let all = consume(&["-until-end"]);
    assert_eq!((all.code, all.text().as_str()), (0, "message B\nmessage D\n"));
    assert_eq!(all.stderr, said(1, 2) + &said(3, 4), "once for each");
    let some = consume(&["-from", "3", "-count", "1"]);
    assert_eq!((some.code, some.text().as_str(), some.stderr), (0, "message D\n", said(3, 4)));

    let describe = |args: &[&str]| {
        run(MINIKAFKA, &[&["topic", "describe", "t", "-host", server.host()], args].concat(), b"").text()
    };
    let text = describe(&[]);
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    assert_eq!(lines[0], "lost: messages that damage of the disk has taken", "{text}");
    assert!(lines[1].ends_with(" 2") && lines[2].ends_with(" lost"), "{text}");
    let described: serde_json::Value = serde_json::from_str(&describe(&["-output", "json"])).unwrap();
    assert_eq!(described["partitions"][0]["damaged_messages"], 2);
}
