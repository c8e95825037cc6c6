// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/dashboard.png")

// patience is how long the page has for each step.
const patience = time.Minute

// program is the running program of examples/dashboard.
type program struct {
	*exec.Cmd
	url string
}

// start builds and starts the program.
func start(t *testing.T) *program { return startAt(t, "127.0.0.1:0") }

func startAt(t *testing.T, address string) *program {
	binary := filepath.Join(t.TempDir(), "dashboard")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = ".." // another module
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	p := &program{Cmd: exec.Command(binary, "-listen", address)}
	p.Stderr = os.Stderr
	stdout, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	p.url = regexp.MustCompile(`http://\S+`).FindString(line)
	require.NotEmpty(t, p.url, line)
	return p
}

// browser is a tab of Chromium, and what is in its console.
type browser struct {
	ctx context.Context

	mu      sync.Mutex
	console []string
}

// open starts Chromium and opens a page.
func open(t *testing.T, url string, width, height int64) *browser {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	return tab(t, ctx, url, width, height)
}

// tab opens a page in the browser of a context.
func tab(t *testing.T, ctx context.Context, url string, width, height int64) *browser {
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	// The first call starts the browser, so that its context must not have a timeout.
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.report(e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.report(fmt.Sprintf("console.%s", e.Type))
		case *cdplog.EventEntryAdded:
			b.report(fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	}))
	b.do(t, chromedp.EmulateViewport(width, height), chromedp.Navigate(url), chromedp.WaitVisible("#outcomes"))
	return b
}

func (b *browser) report(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console = append(b.console, text)
}

func (b *browser) reported() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.console
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

// value returns the value of a JavaScript expression.
func value[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err, expression)
	return v
}

// waitFor waits until a JavaScript expression is true.
func (b *browser) waitFor(t *testing.T, expression string) {
	t.Helper()
	for end := time.Now().Add(patience); !value[bool](t, b, expression); {
		if time.Now().After(end) {
			require.Fail(t, "still not true", "%s\n%s", expression, value[string](t, b, "document.body.innerText"))
		}
		b.do(t, chromedp.Sleep(100*time.Millisecond))
	}
}

// cell is an expression for the number in a row of the table of outcomes, for one of the clients.
func cell(row string, client int) string {
	return fmt.Sprintf(`Number([...document.querySelectorAll("#outcomes tr")].find(tr => tr.cells[0].textContent.endsWith(%q)).cells[%d].textContent)`, row, client+1)
}

// The clients, in the order of the columns.
const ours, plain, loop = 0, 1, 2

const (
	focused = `document.activeElement.id`
	status  = `document.getElementById("status").textContent`
	live    = `document.getElementById("live").innerHTML`
)

func TestPage(t *testing.T) {
	p := start(t)
	b := open(t, p.url, 1100, 900)

	t.Run("it is alive without a fault", func(t *testing.T) {
		for _, client := range []int{ours, plain, loop} {
			b.waitFor(t, cell("Succeeded", client)+" > 10")
		}
		assert.Equal(t, "No fault is on.", value[string](t, b, status))
		assert.Zero(t, value[int](t, b, cell("Failed, but done", plain)))
	})

	t.Run("the keyboard switches a fault on, and the figures change", func(t *testing.T) {
		b.do(t, chromedp.KeyEvent("\t"))
		assert.Equal(t, "lost", value[string](t, b, focused))
		assert.Equal(t, "solid", value[string](t, b, `getComputedStyle(document.activeElement).outlineStyle`), "the focus is visible")
		b.do(t, chromedp.KeyEvent(" "))
		b.waitFor(t, status+` === "On: Lost answers"`)
		b.waitFor(t, cell("Failed, but done", plain)+" > 2")
		b.waitFor(t, cell("Done twice", loop)+" > 2")
		b.waitFor(t, `document.querySelectorAll("#live li").length > 5`)
		for _, row := range []string{"Failed, not done", "Failed, but done", "Done twice", "Succeeded, but not done"} {
			assert.Zero(t, value[int](t, b, cell(row, ours)), row)
		}
		assert.Equal(t, "lost", value[string](t, b, focused), "the focus stays while the figures change")
	})

	t.Run("and another one on and the first off", func(t *testing.T) {
		b.do(t, chromedp.KeyEvent(" "), chromedp.KeyEvent("\t"), chromedp.KeyEvent(" "))
		b.waitFor(t, status+` === "On: 503 for everything"`)
		b.waitFor(t, `document.querySelector("#limits th[scope=row]")?.textContent === "server"`)
		assert.Equal(t, "unavailable", value[string](t, b, focused))
		b.do(t, chromedp.KeyEvent(" "))
		b.waitFor(t, status+` === "No fault is on."`)
	})

	t.Run("another page shows the switches, too", func(t *testing.T) {
		other := tab(t, b.ctx, p.url, 1100, 900)
		other.do(t, chromedp.Click("#slow"))
		b.waitFor(t, `document.getElementById("slow").checked`)
		other.do(t, chromedp.Click("#slow"))
		b.waitFor(t, `!document.getElementById("slow").checked`)
	})

	t.Run("the display can be paused", func(t *testing.T) {
		b.do(t, chromedp.Click("#pause"))
		before := value[string](t, b, live)
		b.do(t, chromedp.Sleep(1200*time.Millisecond))
		assert.Equal(t, before, value[string](t, b, live))
		b.do(t, chromedp.Click("#pause"))
		b.waitFor(t, cell("Succeeded", ours)+" > "+fmt.Sprint(value[int](t, b, cell("Succeeded", ours))))
	})

	t.Run("assistive technology gets names and descriptions", func(t *testing.T) {
		tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		require.NoError(t, err)
		var names []string
		for _, n := range tree.Nodes {
			switch role := text(n.Role); role {
			case "checkbox", "table", "button":
				names = append(names, role+" "+text(n.Name))
				if role == "checkbox" {
					assert.NotEmpty(t, text(n.Description), "description of %s", text(n.Name))
				}
			}
		}
		assert.Subset(t, names, []string{
			"checkbox Lost answers", "checkbox 503 for everything", "checkbox 429 for one resource", "checkbox Slow answers", "checkbox Dead connections",
			"button Pause the display", "table Outcomes of the calls, and what the servers did", "table Median time of the latest calls, and calls in progress",
		})
	})

	for scheme, page := range map[string]string{"light": "#fff", "dark": "#0d1117"} {
		t.Run(scheme+" colours can be read", func(t *testing.T) {
			prefer(t, b, scheme)
			assert.Equal(t, page, value[string](t, b, `getComputedStyle(document.documentElement).getPropertyValue("--page").trim()`))
			contrasts := value[map[string]float64](t, b, contrast)
			assert.Greater(t, len(contrasts), 4, "colours that were found")
			for pair, ratio := range contrasts {
				assert.GreaterOrEqual(t, ratio, 4.5, pair) // WCAG 2.2, 1.4.3
			}
		})
	}

	t.Run("a narrow window does not scroll sideways", func(t *testing.T) {
		b.do(t, chromedp.EmulateViewport(360, 700))
		assert.LessOrEqual(t, value[int](t, b, `document.documentElement.scrollWidth - innerWidth`), 0)
	})

	assert.Empty(t, b.reported(), "what is in the console")

	t.Run("the page says when the program has ended", func(t *testing.T) {
		require.NoError(t, p.Process.Signal(os.Interrupt))
		require.NoError(t, p.Wait())
		b.waitFor(t, status+` === "No connection to the program."`)
	})

	t.Run("and goes on when it is back, without its faults", func(t *testing.T) {
		assert.True(t, value[bool](t, b, `document.getElementById("lost").checked = true`))
		startAt(t, strings.TrimPrefix(p.url, "http://"))
		b.waitFor(t, status+` === "No fault is on."`)
		b.waitFor(t, cell("Succeeded", ours)+" > 3")
		assert.False(t, value[bool](t, b, `document.getElementById("lost").checked`))
	})
}

// prefer sets the preferred colour scheme.
func prefer(t *testing.T, b *browser, scheme string) {
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(t, err)
}

// contrast returns the contrast of each pair of colours that text has on the page.
const contrast = `(() => {
	const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const background = (element) => {
		for (; element; element = element.parentElement) {
			const colour = parse(getComputedStyle(element).backgroundColor);
			if (colour.length < 4 || colour[3] > 0) return colour;
		}
		return [255, 255, 255];
	};
	const found = {};
	for (const element of document.querySelectorAll("body *:not(noscript)")) {
		if (![...element.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim())) continue;
		const text = getComputedStyle(element).color, behind = background(element);
		const [dark, bright] = [luminance(parse(text)), luminance(behind)].sort((x, y) => x - y);
		found[text + " on " + behind] = (bright + 0.05) / (dark + 0.05);
	}
	return found;
})()`

// text returns a string of the accessibility tree.
func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	return strings.Trim(string(v.Value), `"`)
}
