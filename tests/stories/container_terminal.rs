//! At a terminal that is resized, in tmux: what is typed and seen in a container.

use e2e::{Cmd, Store, need, program};

use crate::both::{eventually, inspect};

/// A terminal in which a line runs.
struct Tmux<'s> {
    store: &'s Store,
}

impl Tmux<'_> {
    fn tmux(&self, words: &[&str]) -> Cmd {
        Cmd::new("tmux")
            .env("RBUILD_ROOT", self.store.root())
            .env("HOME", self.store.home())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .arg("-S")
            .arg(self.store.file("tmux"))
            .args(["-f", "/dev/null"])
            .args(words)
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&["send-keys", "-t", "0"]).args(keys).ok();
    }

    fn line(&self, line: &str) {
        self.keys(&[line, "Enter"]);
    }

    fn shows(&self, text: &str) {
        eventually(text, || {
            let pane = self.tmux(&["capture-pane", "-p", "-J", "-t", "0"]).ok();
            // A prompt may stand before it.
            pane.out()
                .lines()
                .any(|line| line.trim_end().ends_with(text))
        });
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).run();
    }
}

#[test]
fn a_terminal_is_resized_interrupted_left_and_taken_up_again() {
    let store = need!(Store::busybox());
    need!(program("tmux"));
    let tmux = Tmux { store: &store };
    tmux.tmux(&["new-session", "-d", "-x", "80", "-y", "24", "sh"])
        .ok();
    let rbuild = e2e::rbuild();
    let rbuild = rbuild.display();
    tmux.line("PS1='host> '");
    tmux.line(&format!(
        "{rbuild} run -it --net none --name box busybox sh; echo left $?"
    ));
    tmux.line("PS1='box> '; stty size");
    tmux.shows("24 80");
    tmux.tmux(&["resize-window", "-t", "0", "-x", "100", "-y", "30"])
        .ok();
    eventually("the container hears of the new size", || {
        let size = ["exec", "box", "sh", "-c", "stty size </proc/1/fd/0"];
        store.rbuild(size).run().out() == "30 100\n"
    });
    // What Ctrl-C ends is in the container, and nothing else.
    tmux.line("sleep 1000; echo slept $?");
    eventually("it sleeps", || {
        let top = store.rbuild(["top", "box", "-o", "pid,args"]).ok().out();
        top.contains("sleep 1000")
    });
    tmux.keys(&["C-c"]);
    tmux.line("echo again");
    tmux.shows("again");
    tmux.keys(&["C-p", "C-q"]);
    tmux.shows("left 0");
    assert_eq!(inspect(&store, "box")["State"]["Status"], "running");
    // What is there is drawn again for who comes back, before anything is typed.
    tmux.line(&format!("clear; {rbuild} attach box; echo parted $?"));
    tmux.shows("box>");
    tmux.keys(&["C-p", "C-q"]);
    tmux.shows("parted 1");
    tmux.line(&format!("{rbuild} attach box; echo ended $?"));
    tmux.line("exit 9");
    tmux.shows("ended 9");
    tmux.line(&format!("{rbuild} start -ai box; echo second $?"));
    tmux.line("exit 8");
    tmux.shows("second 8");
    // A pipe is no terminal.
    tmux.line(&format!(
        "echo x | {rbuild} run -it --rm busybox cat; echo refused $?"
    ));
    tmux.shows("refused 1");
    store.rbuild(["rm", "box"]).ok();
}
