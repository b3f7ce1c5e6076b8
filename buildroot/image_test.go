// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// postBuild runs post-build.sh, as both builds do, on a root that holds the
// overlay and nothing else, and returns it.
func postBuild(t *testing.T, board, variant string) string {
	t.Helper()
	target, keys := t.TempDir(), t.TempDir()
	if err := os.CopyFS(target, os.DirFS(overlay)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root.pub", "bundle.pub", "log.pub", "db.crt"} {
		write(t, filepath.Join(keys, name), name+"\n")
		write(t, filepath.Join(keys, strings.TrimSuffix(name, filepath.Ext(name))+".key"), "secret\n")
	}
	tree, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "board/common/post-build.sh", target, board)
	cmd.Env = append(os.Environ(), "BR2_EXTERNAL_IN_CAMERA_PATH="+tree, "KEYS="+keys, "VERSION=1.5.0", "ROLLBACK=7")
	if variant != "" {
		cmd.Env = append(cmd.Env, "VARIANT="+variant)
	}
	if status, out := run(t, cmd); status != 0 {
		t.Fatalf("post-build.sh: status %d\n%s", status, out)
	}
	return target
}

// TestRoot checks that the root of an image holds every file of the overlay as it
// is here, and no secret of the build.
func TestRoot(t *testing.T) {
	target := postBuild(t, "qemu-arm64", "debian")
	n := 0
	walk(t, overlay, func(path string, d fs.DirEntry) {
		n++
		got := filepath.Join(target, strings.TrimPrefix(path, overlay))
		if d.Type()&fs.ModeSymlink != 0 {
			want, _ := os.Readlink(path)
			if link, err := os.Readlink(got); err != nil || link != want {
				t.Errorf("%s leads to %q, %v; want %q", got, link, err, want)
			}
			return
		}
		if read(t, got) != read(t, path) {
			t.Errorf("%s is not as in the overlay", got)
		}
	})
	if n < 30 {
		t.Errorf("the overlay has %d files", n)
	}
	walk(t, target, func(path string, d fs.DirEntry) {
		if d.Type().IsRegular() && strings.Contains(read(t, path), "secret") {
			t.Errorf("%s holds the secret key", path)
		}
	})
}

// TestOneRelease checks that both builds render the same os-release, but for the
// word that keeps them apart.
func TestOneRelease(t *testing.T) {
	rendered := map[string]string{}
	for _, variant := range []string{"", "debian"} {
		text := read(t, postBuild(t, "qemu-arm64", variant)+"/usr/lib/os-release")
		if strings.Contains(text, "@") {
			t.Errorf("os-release has a word that nothing fills in:\n%s", text)
		}
		if !strings.Contains(text, "\nVERSION_ID=\"1.5.0\"\n") || !strings.Contains(text, "\nIMAGE_VERSION=\"1.5.0\"\n") {
			t.Errorf("os-release does not say the version:\n%s", text)
		}
		rendered[variant] = text
	}
	if got := strings.Replace(rendered["debian"], "VARIANT_ID=debian\n", "VARIANT_ID=buildroot\n", 1); got != rendered[""] {
		t.Errorf("the two differ in more than their variant:\n%s\n%s", got, rendered[""])
	}
}

// TestWhatItSays checks what an image of each board says of itself in its root:
// the pair of board and variant is that of its profile, from which its reference
// values are made, and the keys are the public ones.
func TestWhatItSays(t *testing.T) {
	for board := range boards {
		variant := "" // as Buildroot calls it
		if board == "qemu-arm64" {
			variant = "debian"
		}
		target := postBuild(t, board, variant)
		var profile, says struct {
			Version, Board, Software string
			Rollback                 uint64
		}
		for path, v := range map[string]any{"board/" + board + "/profile.json": &profile, target + "/usr/lib/in-camera/release.json": &says} {
			if err := json.Unmarshal([]byte(read(t, path)), v); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		if says.Version != "1.5.0" || says.Rollback != 7 || says.Software != "in-camera" || says.Board != profile.Board {
			t.Errorf("%s says %+v; its profile is of %q", board, says, profile.Board)
		}
		image, variant, _ := strings.Cut(says.Board, "/")
		for _, line := range []string{"\nIMAGE_ID=" + image + "\n", "\nVARIANT_ID=" + variant + "\n"} {
			if !strings.Contains(read(t, target+"/usr/lib/os-release"), line) {
				t.Errorf("%s: os-release does not say %q", board, line)
			}
		}
		for file, key := range map[string]string{"root.pem": "root.pub", "bundle.pem": "bundle.pub", "log.pub": "log.pub", "db.crt": "db.crt"} {
			if got := read(t, target+"/usr/share/in-camera/"+file); got != key+"\n" {
				t.Errorf("%s: %s holds %q", board, file, got)
			}
		}
	}
}

// TestImageVersion checks what make image calls a build: its tag if that is
// semantic, and otherwise a number that grows with each commit.
func TestImageVersion(t *testing.T) {
	tool(t, "make")
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-rc.1": "1.2.3-rc.1", "v1.2.3-dirty": "1.2.3-dirty",
		"5c4284c-dirty": "0.1.0-dev.N", "v1.2.3-4-g5c4284c": "0.1.0-dev.N", "v1.2.3+4": "0.1.0-dev.N", "dev": "0.1.0-dev.N",
	} {
		cmd := exec.CommandContext(t.Context(), "make", "-C", "..", "-n", "image", "VERSION="+version)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=") // the tests run in a make of their own
		status, out := run(t, cmd)
		m := regexp.MustCompile(` VERSION=(\S+) ROLLBACK=`).FindStringSubmatch(out)
		if status != 0 || m == nil || regexp.MustCompile(`^0\.1\.0-dev\.\d+$`).ReplaceAllString(m[1], "0.1.0-dev.N") != want {
			t.Errorf("VERSION=%s: status %d, the image is called %q; want %s", version, status, m, want)
		}
	}
}

// TestVersions has post-build.sh refuse what no bundle could name.
func TestVersions(t *testing.T) {
	tree, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ version, rollback string }{
		{"1.5", "1"}, {"v1.5.0", "1"}, {"5c4284c-dirty", "1"}, {"1.5.0+3", "1"}, {"1.5.0-\"", "1"}, {"1.5.0", "0"}, {"1.5.0", "x"},
	} {
		target := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "board/common/post-build.sh", target, "qemu-arm64")
		cmd.Env = append(os.Environ(), "BR2_EXTERNAL_IN_CAMERA_PATH="+tree, "KEYS="+target, "VERSION="+c.version, "ROLLBACK="+c.rollback)
		if status, out := run(t, cmd); status != 1 || !strings.Contains(out, "post-build: version "+c.version) {
			t.Errorf("version %s, rollback number %s: status %d\n%s", c.version, c.rollback, status, out)
		}
	}
}

// filled are the words of templates that the scripts fill in.
var filled = regexp.MustCompile(`@[A-Z]+@`)

// TestTemplates checks that a script fills in each word of a template, and that
// each board's meta has what the scripts read of it.
func TestTemplates(t *testing.T) {
	scripts := read(t, "board/common/post-build.sh") + read(t, "board/common/post-image.sh")
	for _, path := range []string{"board/common/cmdline.in", "board/common/os-release.in"} {
		words := filled.FindAllString(read(t, path), -1)
		if words == nil {
			t.Errorf("%s is no template", path)
		}
		for _, word := range words {
			if !strings.Contains(scripts, "s|"+word+"|") {
				t.Errorf("%s: no script fills in %s", path, word)
			}
		}
	}
	for board := range boards {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", `. "$1"; echo "$BOARD/$CONSOLE/$DTB/$ESP_SIZE/$SYSTEM_SIZE/$DATA_SIZE"`, "sh", "./board/"+board+"/meta")
		status, out := run(t, cmd)
		if !regexp.MustCompile(`^` + board + `/tty\w+(,\d+)?/([\w-]+\.dtb)?/\d+M/\d+M/\d+M\n$`).MatchString(out) {
			t.Errorf("%s/meta: status %d, %q", board, status, out)
		}
	}
}

// postImage runs post-image.sh on a kernel's configuration alone, as for a release
// unless testKernel is set.
func postImage(t *testing.T, config, testKernel string) (status int, text string, made []string) {
	t.Helper()
	out := t.TempDir()
	tree, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	write(t, out+"/kernel.config", config)
	cmd := exec.CommandContext(t.Context(), "board/common/post-image.sh", out, "qemu-arm64")
	cmd.Env = append(os.Environ(), "BR2_EXTERNAL_IN_CAMERA_PATH="+tree, "HOST_DIR="+out, "TARGET_DIR="+out+"/none", "KEYS="+out,
		"VERSION=1.5.0", "ROLLBACK=1", "SOURCE_DATE_EPOCH=0", "TEST_KERNEL="+testKernel)
	status, text = run(t, cmd)
	return status, text, glob(t, out+"/*")
}

// TestReleaseKernel has post-image.sh refuse a kernel with a device of tests
// before it makes anything.
func TestReleaseKernel(t *testing.T) {
	status, text, made := postImage(t, "CONFIG_64BIT=y\nCONFIG_VIDEO_VIVID=y\n", "")
	if status != 1 || !strings.Contains(text, "CONFIG_VIDEO_VIVID=y") || !strings.Contains(text, "test.config") {
		t.Errorf("post-image.sh: status %d\n%s", status, text)
	}
	if len(made) != 1 {
		t.Errorf("post-image.sh made %v", made)
	}
}

// TestKernelsAsBuilt does the same with the two kernels as they were built: every
// driver of tests in the one is named, and the other passes, to end where it
// looks for the root.
func TestKernelsAsBuilt(t *testing.T) {
	const refused, noRoot = "post-image: the kernel has these lines of test.config", "/none"
	withTests := fromShared(t, "kernel/resolved.config")
	status, text, _ := postImage(t, withTests, "")
	if status != 1 || !strings.Contains(text, refused) {
		t.Errorf("the kernel with drivers of tests: status %d\n%s", status, text)
	}
	for _, line := range strings.Split(read(t, "board/common/linux/test.config"), "\n") {
		if strings.HasPrefix(line, "CONFIG_") && !strings.Contains(text, line+"\n") {
			t.Errorf("post-image.sh does not name %s", line)
		}
	}
	for name, c := range map[string]struct{ config, testKernel string }{
		"the kernel of a release":                           {fromShared(t, "kernel/resolved-release.config"), ""},
		"the kernel with drivers of tests, where it may be": {withTests, "1"},
	} {
		status, text, _ := postImage(t, c.config, c.testKernel)
		if status == 0 || strings.Contains(text, refused) || !strings.Contains(text, noRoot) {
			t.Errorf("%s: status %d\n%s", name, status, text)
		}
	}
}
