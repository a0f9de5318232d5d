// Package workflows tests the workflows in .github and the scripts that they run, as far as
// that needs no service: actionlint checks their syntax in `make lint`, and `make
// release-dry-run` runs the scripts of a release.
package workflows

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const root = "../.."

type workflow struct {
	Permissions *map[string]string
	Jobs        map[string]struct {
		Timeout  int `yaml:"timeout-minutes"`
		Strategy struct{ Matrix map[string][]string }
		Steps    []struct{ Uses, Run string }
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// workflows returns them by name.
func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	names, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(names) < 4 {
		t.Fatalf("%q, %v", names, err)
	}
	all := make(map[string]workflow)
	for _, name := range names {
		var w workflow
		if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/"+filepath.Base(name))), &w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[filepath.Base(name)] = w
	}
	return all
}

// commands returns each command that a job runs, with each value of its matrix.
func commands(w workflow) (all []string) {
	for _, job := range w.Jobs {
		for _, step := range job.Steps {
			expanded := []string{step.Run}
			for key, choices := range job.Strategy.Matrix {
				var more []string
				for _, command := range expanded {
					for _, value := range choices {
						more = append(more, strings.ReplaceAll(command, "${{ matrix."+key+" }}", value))
					}
				}
				expanded = more
			}
			all = append(all, expanded...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Somebody who takes over an action's repository can move its tags, but not its commits.
func TestActionsArePinnedAndJobsAreBounded(t *testing.T) {
	pinned := regexp.MustCompile(`uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n`)
	for name, w := range workflows(t) {
		text := read(t, ".github/workflows/"+name)
		if all, good := strings.Count(text, "uses: "), len(pinned.FindAllString(text, -1)); all != good {
			t.Errorf("%s: %d of %d actions are pinned by commit, with the version as a comment", name, good, all)
		}
		if all, without := strings.Count(text, "actions/checkout@"), strings.Count(text, "persist-credentials: false"); all != without {
			t.Errorf("%s: %d of %d checkouts leave the token to all that runs after them", name, all-without, all)
		}
		if w.Permissions == nil {
			t.Errorf("%s: the token has all rights", name)
		}
		for job, j := range w.Jobs {
			if j.Timeout == 0 {
				t.Errorf("%s: %s can run for six hours", name, job)
			}
		}
	}
}

func TestEachCommandIsThere(t *testing.T) {
	target := regexp.MustCompile(`(?:^|&& )make ([a-z-]+)( ONLY='[^']*')?( |$)`)
	script := regexp.MustCompile(`\bscripts/[a-z-]+`)
	tried, made := 0, make(map[string]bool)
	for name, w := range workflows(t) {
		for _, command := range commands(w) {
			for _, m := range target.FindAllStringSubmatch(command, -1) {
				if tried++; made[m[1]+m[2]] {
					continue
				}
				made[m[1]+m[2]] = true
				cmd := exec.Command("bash", "-c", "make --dry-run --no-print-directory -C "+root+" "+m[1]+m[2])
				cmd.Env = append(os.Environ(), "REGISTRY=r.example/path", "VERSION=v1.2.3")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s: %s: %v\n%s", name, command, err, out)
				}
			}
			for _, s := range script.FindAllString(command, -1) {
				if info, err := os.Stat(filepath.Join(root, s)); err != nil || info.Mode()&0o111 == 0 {
					t.Errorf("%s: %s: %v", name, command, err)
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d commands of make", tried)
	}
}

// stderr returns what a command that failed has written there.
func stderr(err error) []byte {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.Stderr
	}
	return nil
}

// Without its database, it has found nothing because it has not looked.
func TestVulncheckFailsWithoutItsDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("builds govulncheck")
	}
	out, err := exec.Command("make", "-C", root, "vulncheck", "VULNDB=-db=https://127.0.0.1:1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "vulndb") {
		t.Errorf("%v: %s", err, out)
	}
}

// What `make test` runs is what the jobs run.
func TestTheJobsRunAllTests(t *testing.T) {
	m := regexp.MustCompile(`(?m)^test: (.*?) *##`).FindStringSubmatch(read(t, "Makefile"))
	all := strings.Join(commands(workflows(t)["check.yml"]), "\n") + "\n"
	for target := range strings.FieldsSeq(m[1]) {
		if target == "release" {
			target = "release-files" // needs it
		}
		if !strings.Contains(all, "make "+target+"\n") && !strings.Contains(all, "make "+target+" ") {
			t.Errorf("no job runs make %s", target)
		}
	}
	var planned []string
	for _, m := range regexp.MustCompile(`(?m)^\t\t\{"([^"]+)", "[a-z-]+", "(amd64|arm64)"`).FindAllStringSubmatch(read(t, "test/kernels/plan.go"), -1) {
		planned = append(planned, m[1]+"/"+m[2])
	}
	if got := workflows(t)["check.yml"].Jobs["kernels"].Strategy.Matrix["kernel"]; len(planned) == 0 || !slices.Equal(got, planned) {
		t.Errorf("the jobs run the kernels %v, the plan has %v", got, planned)
	}
}

// gh stands in for GitHub's own: it answers from files, and keeps what it was given.
const gh = `#!/bin/bash
case "$*" in
*/pulls*) echo "$NUMBER" ;;
"run download"*) mkdir "$5/instructions-0"; cp "$REPORT" "$5/instructions-0/6.1-amd64.md"
	file="$5/instructions-0/6.1-amd64.md"$'\n'"$SECRET" # by lines, it is two files
	mkdir -p "${file%/*}"; echo >"$file" ;;
*--paginate*) echo "$EARLIER" ;;
*) echo "$*" >"$SENT"; for a; do [[ $a != body=@* ]] || cat "${a#body=@}" >>"$SENT"; done ;;
esac
`

func TestTheCommentQuotesWhatAChangeHasWritten(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("gh", gh, 0o755)
	secret := write("secret.md", "the runner's secret\n", 0o600)
	log := write("log", "ok\nVERIFIED INSTRUCTIONS CHANGED by +20 %: x 6.1 amd64: from 100 to 120\n"+
		"verified instructions: 9 @everyone <img src=x> \x1b[31m\n"+"verified instructions: "+strings.Repeat("x", 5000)+"\nPASS\n", 0o600)
	report, err := exec.Command(root+"/scripts/instruction-counts", log).Output()
	if err != nil || strings.Contains(string(report), "PASS") || !strings.HasPrefix(string(report), "VERIFIED") {
		t.Fatalf("report %q, %v", report, err)
	}
	for name, c := range map[string]struct{ number, earlier, want string }{
		"a first comment":       {"7", "", "api --method POST repos/o/r/issues/7/comments"},
		"another run":           {"7", "99", "api --method PATCH repos/o/r/issues/comments/99"},
		"no pull request is it": {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			sent := filepath.Join(t.TempDir(), "sent")
			cmd := exec.Command(root+"/scripts/comment-instructions", "5", "0123456789abcdef")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "GH_REPO=o/r", "NUMBER="+c.number, "EARLIER="+c.earlier,
				"REPORT="+write("report", string(report), 0o600), "SENT="+sent, "SECRET="+secret)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			text, _ := os.ReadFile(sent)
			if c.want == "" && len(text) == 0 {
				return
			}
			first, body, _ := strings.Cut(string(text), "\n")
			if c.want == "" || !strings.HasPrefix(first, c.want) || len(body) > 3000 || strings.Contains(body, "\x1b") {
				t.Errorf("sent %q", text)
			}
			for line := range strings.Lines(body) {
				if strings.Contains(line, "@everyone") && !strings.HasPrefix(line, "        ") {
					t.Errorf("not quoted: %q", line)
				}
			}
			if !strings.Contains(body, "        VERIFIED INSTRUCTIONS CHANGED") {
				t.Errorf("no counts in %q", body)
			}
			if strings.Contains(body, "the runner's") {
				t.Errorf("the name of a report had another file published: %q", body)
			}
		})
	}
}

func TestReleaseNotesAreASectionOfTheChangelog(t *testing.T) {
	for version, want := range map[string]bool{"unreleased": true, "v99.0.0": false, "v9": false} {
		out, err := exec.Command(root+"/scripts/release-notes", version).Output()
		if want != (err == nil) || want != strings.Contains(string(out), "### Added") || strings.Contains(string(out), "\n## ") {
			t.Errorf("%s: %v, %s", version, err, out)
		}
	}
}

// makesRepositories is for tests of scripts of a release, which make git repositories: not for every save.
func makesRepositories(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes git repositories")
	}
}

// A release and those who verify it build in different checkouts, by different users. What lies
// about there can be an editor's copy, or a secret.
func TestTheChartIsMadeOfWhatIsCommitted(t *testing.T) {
	makesRepositories(t)
	script := `set -euo pipefail
export GIT_CONFIG_GLOBAL=$1/config
cat >"$1/config" <<END
[user]
	name = a
	email = a@example.org
	signingkey = $1/key
[gpg]
	format = ssh
[log]
	showSignature = true
END
ssh-keygen -q -t ed25519 -N '' -f "$1/key"
git init --quiet "$1/main"
(cd "$2" && tar -c scripts charts/cryptnono) | tar -x -C "$1/main"
cd "$1/main"
rm -f charts/cryptnono/*~
git add --all
git commit --quiet -S -m main
scripts/build-chart v1.2.3
stat -c %Y bin/cryptnono-1.2.3.tgz
sha256sum bin/*
echo secret >charts/cryptnono/.env
echo old >charts/cryptnono/values.yaml~
echo 'kind: Pod' >charts/cryptnono/templates/pod.yaml
umask 077
TZ=Asia/Tokyo scripts/build-chart v1.2.3
sha256sum bin/*
git log -1 --no-show-signature --format=%ct`
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", "-c", script, "bash", t.TempDir(), dir).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr(err))
	}
	if lines := strings.Fields(string(out)); len(lines) != 6 || lines[1] != lines[3] || lines[0] != lines[5] {
		t.Errorf("time, sums and the commit's time: %s", out)
	}
}

// A user with the right to push a tag can push one of any commit.
func TestOnlyAVersionOfTheMainBranchIsReleased(t *testing.T) {
	makesRepositories(t)
	script := `set -euo pipefail
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
cd "$1"
git init --quiet
git commit --quiet --allow-empty -m main
git update-ref refs/remotes/origin/main HEAD
for tag in v1.2.3 v1.2.3-rc.1 v1.2.4 v01.2.3 v1.2.3-rc.01 v1.2.3-evil 1.2.3; do git tag $tag; done
git commit --quiet --allow-empty -m more
git tag --force v1.2.4 >/dev/null
git checkout --quiet v1.2.3
for tag in v1.2.3 v1.2.3-rc.1 v1.2.4 v01.2.3 v1.2.3-rc.01 v1.2.3-evil 1.2.3 v9.9.9; do ! "$2/scripts/check-tag" $tag 2>/dev/null || echo $tag; done
git checkout --quiet v1.2.4
! "$2/scripts/check-tag" v1.2.4 2>/dev/null || echo not reviewed`
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", "-c", script, "bash", t.TempDir(), dir).Output()
	if err != nil || string(out) != "v1.2.3\nv1.2.3-rc.1\n" {
		t.Errorf("%v: released were %q %s", err, out, stderr(err))
	}
}

// Dependabot looks only where it is told to.
func TestDependabotKnowsEveryModule(t *testing.T) {
	var d struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directories []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &d); err != nil {
		t.Fatal(err)
	}
	known := make(map[string][]string)
	for _, u := range d.Updates {
		known[u.Ecosystem] = u.Directories
	}
	out, err := exec.Command("git", "-C", root, "ls-files", "*go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for name := range strings.FieldsSeq(string(out)) {
		modules = append(modules, strings.TrimSuffix("/"+strings.TrimPrefix(filepath.Dir(name), "."), "/"))
	}
	for i := range modules {
		if modules[i] == "" {
			modules[i] = "/"
		}
	}
	slices.Sort(modules)
	if got := slices.Sorted(slices.Values(known["gomod"])); !slices.Equal(got, modules) {
		t.Errorf("got %v, want %v", got, modules)
	}
	if want := []string{"docker", "github-actions", "gomod"}; !slices.Equal(slices.Sorted(maps.Keys(known)), want) {
		t.Errorf("got %v", known)
	}
	// Of the Dockerfile it reads the lines FROM, and no arguments.
	dockerfile := read(t, "Dockerfile")
	if !regexp.MustCompile(`(?m)^FROM (--platform=\S+ )?[\w./-]+:[\w.-]+(@sha256:[0-9a-f]{64})? AS `).MatchString(dockerfile) {
		t.Error("Dependabot finds no base image in the Dockerfile")
	}
	if m := regexp.MustCompile(`(?m)^ARG \w+=\S+:\S+`).FindString(dockerfile); m != "" {
		t.Errorf("Dependabot does not find the image in %s", m)
	}
}

// The site is pushed next to the chart repository, also if a release pushes meanwhile.
func TestTheSiteLeavesTheChartRepository(t *testing.T) {
	makesRepositories(t)
	dir := t.TempDir()
	script := `set -euo pipefail
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
cd "$1"
git init --quiet --bare origin
git init --quiet old
cd old
mkdir docs
for f in index.yaml cryptnono-0.1.0.tgz CNAME artifacthub-repo.yml index.html docs/gone.html; do echo old >$f; done
git add --all
git commit --quiet -m old
git push --quiet ../origin HEAD:gh-pages
cd ..
git init --quiet main
cp -r "$2" main/scripts
cd main
git commit --quiet --allow-empty -m main
git remote add origin "$1/origin"
mkdir -p bin/site/docs
echo new >bin/site/index.html
echo new >bin/site/docs/page.html
# A release pushes between the fetch and the first push.
cat >.git/hooks/pre-push <<'END'
#!/bin/bash
rm "$0"
unset GIT_DIR GIT_WORK_TREE
cd "$OLD"
echo chart >cryptnono-1.0.0.tgz
git add --all
git commit --quiet -m chart
git push --quiet ../origin HEAD:gh-pages
END
chmod +x .git/hooks/pre-push
OLD=$1/old scripts/site-to-github
[[ ! -e .git/hooks/pre-push ]]
scripts/site-to-github # without a change
git -C ../origin log --format=%s gh-pages
git -C ../origin ls-tree -r --name-only gh-pages
git -C ../origin show gh-pages:index.html gh-pages:index.yaml`
	scripts, err := filepath.Abs(root + "/scripts")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", "-c", script, "bash", dir, scripts).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr(err))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !strings.HasPrefix(lines[0], "site of ") {
		t.Errorf("the last commit is %q", lines[0])
	}
	want := []string{"chart", "old", ".nojekyll", "CNAME", "artifacthub-repo.yml", "cryptnono-0.1.0.tgz", "cryptnono-1.0.0.tgz", "docs/page.html", "index.html", "index.yaml", "new", "old"}
	if !slices.Equal(lines[1:], want) {
		t.Errorf("the branch has %q, want %q", lines[1:], want)
	}
}
