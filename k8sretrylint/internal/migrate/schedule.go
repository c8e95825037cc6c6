// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

// schedule is how often and after which delays a call is repeated.
type schedule struct {
	retries    int // math.MaxInt32: without limit
	initial    time.Duration
	multiplier float64
	max        time.Duration // of a delay, 0: none
	elapsed    time.Duration // 0: none
	fibonacci  bool          // initial, and then each delay is the sum of the two before it; in place of multiplier
	jitter     bool          // the schedule is spread by an option of its own
}

// plan is what is known of a retry.
type plan struct {
	schedule
	ctx     ast.Expr // of the retry itself, nil if it has none
	covered bool     // only failures are repeated that k8sretry knows to be transient
	retryIf string   // the source of a predicate, if not covered
}

const everyError = "func(error) bool { return true }"

// The defaults of k8sretry.
const (
	defaultRetries    = 3
	defaultInitial    = time.Second
	defaultMax        = 30 * time.Second
	defaultMultiplier = 2
)

// options are the options of k8sretry that differ from its defaults.
func (w *rewriting) options(pkg string, s schedule) (options []string, err error) {
	duration := func(name string, d time.Duration) {
		var text string
		if text, err = w.duration(d); err == nil {
			options = append(options, fmt.Sprintf("%s.%s(%s)", pkg, name, text))
		}
	}
	if s.retries == math.MaxInt32 {
		mathPkg, err := w.importing("math", "math")
		if err != nil {
			return nil, err
		}
		options = append(options, fmt.Sprintf("%s.WithMaxRetries(%s.MaxInt32)", pkg, mathPkg))
	} else if s.retries != defaultRetries {
		options = append(options, fmt.Sprintf("%s.WithMaxRetries(%d)", pkg, s.retries))
	}
	if s.retries == 0 {
		return options, nil
	}
	if s.fibonacci {
		backoff, err := w.fibonacci(pkg, s)
		if err != nil {
			return nil, err
		}
		options = append(options, backoff)
		if s.elapsed > 0 {
			duration("WithMaxElapsed", s.elapsed)
		}
		return options, err
	}
	if s.initial != defaultInitial {
		duration("WithInitialDelay", s.initial)
	}
	if s.multiplier != defaultMultiplier {
		options = append(options, fmt.Sprintf("%s.WithMultiplier(%s)", pkg, strconv.FormatFloat(s.multiplier, 'g', -1, 64)))
	}
	// A maximum is set where it changes something: one that is reached, or the default if it would be.
	longest := s.longest()
	switch {
	case s.max > 0 && s.max < longest && s.max != defaultMax:
		duration("WithMaxDelay", s.max)
	case longest > defaultMax && s.max != defaultMax:
		duration("WithMaxDelay", longest)
	}
	if s.elapsed > 0 {
		duration("WithMaxElapsed", s.elapsed)
	}
	return options, err
}

// fibonacci is the option with a Fibonacci schedule as sethvargo/go-retry has it: base, 2 base, 3 base, 5 base.
func (w *rewriting) fibonacci(pkg string, s schedule) (string, error) {
	if s.jitter {
		return "", errors.New("its Fibonacci schedule has jitter, which a func in place of the schedule of k8sretry would lack")
	}
	limit := s.max
	if limit == 0 {
		limit = s.elapsed // no longer delay is waited for
	}
	first, next := s.initial, 2*s.initial
	var sum string
	if limit > 0 {
		first, next = min(first, limit), min(next, limit)
		text, err := w.duration(limit)
		if err != nil {
			return "", err
		}
		sum = "min(d+next, " + text + ")"
	} else {
		if float64(s.initial)*math.Pow(math.Phi, float64(s.retries+1)) > math.MaxInt64 {
			return "", errors.New("its delays are too long")
		}
		sum = "d+next"
	}
	firstText, err := w.duration(first)
	if err != nil {
		return "", err
	}
	nextText, err := w.duration(next)
	if err != nil {
		return "", err
	}
	pkgTime, err := w.importing("time", "time")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s.WithBackoff(%s.BackoffFunc(func(n int) %s.Duration {\nd, next := %s, %s\nfor ; n > 1; n-- {\nd, next = next, %s\n}\nreturn d\n}))",
		pkg, pkg, pkgTime, firstText, nextText, sum), nil
}

// longest is the longest delay of the schedule without a maximum, but no more than a day.
func (s schedule) longest() time.Duration {
	d := float64(s.initial)
	for range min(s.retries-1, 100) {
		d *= s.multiplier
	}
	return time.Duration(min(d, float64(24*time.Hour)))
}

// duration is d as Go source.
func (w *rewriting) duration(d time.Duration) (string, error) {
	if d == 0 {
		return "0", nil
	}
	pkg, err := w.importing("time", "time")
	if err != nil {
		return "", err
	}
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}, {"Microsecond", time.Microsecond}, {"Nanosecond", 1}} {
		if d%unit.d != 0 {
			continue
		}
		if d == unit.d {
			return pkg + "." + unit.name, nil
		}
		return fmt.Sprintf("%d*%s.%s", d/unit.d, pkg, unit.name), nil
	}
	return "", errors.New("a delay that cannot be written")
}

var errSchedule = errors.New("its schedule is not visible as constants that only this call uses")

// number is the value of a constant expression.
func (w *rewriting) number(e ast.Expr) (float64, bool) {
	tv := w.p.Info.Types[e]
	if tv.Value == nil {
		return 0, false
	}
	v, _ := constant.Float64Val(constant.ToFloat(tv.Value))
	return v, true
}

// value follows a variable to what it holds, nil if that is not known. A local variable has to be used here alone, and
// is deleted: it would be unused.
func (w *rewriting) value(e ast.Expr) ast.Expr {
	e = ast.Unparen(e)
	id, ok := e.(*ast.Ident)
	if !ok {
		return e
	}
	v, ok := w.p.Info.ObjectOf(id).(*types.Var)
	if !ok {
		return e
	}
	value := w.p.Value(v)
	if value == nil {
		return nil
	}
	uses := 0
	for used, obj := range w.p.Info.Uses {
		if obj != v {
			continue
		}
		uses++
		// A field that is set, a method that is called, or an address that is taken: the value is not what it was.
		switch parent := w.p.Parent(used).(type) {
		case *ast.SelectorExpr:
			return nil
		case *ast.UnaryExpr:
			if parent.Op == token.AND {
				return nil
			}
		}
	}
	if v.Parent() == w.p.Types.Scope() {
		if v.Exported() && w.p.Types.Name() != "main" {
			return nil // other packages may set it
		}
		return ast.Unparen(value) // may be used elsewhere; an unused one is no error
	}
	assign, ok := w.p.Parent(value).(*ast.AssignStmt)
	if !ok || assign.Tok != token.DEFINE || len(assign.Lhs) != 1 {
		return nil
	}
	if uses != 1 {
		return nil
	}
	w.deleteStmt(assign)
	return ast.Unparen(value)
}

// made is what an expression stands for: a local variable, what a chain has made of it.
func (w *rewriting) made(e ast.Expr) ast.Expr {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return ast.Unparen(e)
	}
	if w.stands[id] == nil {
		if w.stands == nil {
			w.stands = map[*ast.Ident]ast.Expr{}
		}
		maps.Copy(w.stands, w.chain(id))
	}
	return ast.Unparen(w.stands[id])
}

// chain follows a local variable that is made in several statements of one block and then used once, such as
//
//	b := retry.NewExponential(time.Second)
//	b = retry.WithMaxRetries(3, b)
//
// and deletes these statements. It returns what each use of the variable stands for, nil if there is more to it.
func (w *rewriting) chain(id *ast.Ident) map[*ast.Ident]ast.Expr {
	v, ok := w.p.Info.ObjectOf(id).(*types.Var)
	if !ok || v.Parent() == w.p.Types.Scope() {
		return nil
	}
	type set struct {
		stmt  ast.Stmt
		value ast.Expr
	}
	var sets []set
	var reads []*ast.Ident
	visit := func(ident *ast.Ident, obj types.Object) {
		if obj != types.Object(v) {
			return
		}
		switch parent := w.p.Parent(ident).(type) {
		case *ast.AssignStmt:
			if len(parent.Lhs) == 1 && len(parent.Rhs) == 1 && parent.Lhs[0] == ast.Expr(ident) && (parent.Tok == token.DEFINE || parent.Tok == token.ASSIGN) {
				sets = append(sets, set{parent, parent.Rhs[0]})
				return
			}
		case *ast.ValueSpec:
			decl, isDecl := w.p.Parent(parent).(*ast.GenDecl)
			stmt, isStmt := w.p.Parent(decl).(*ast.DeclStmt)
			if isDecl && isStmt && len(decl.Specs) == 1 && len(parent.Names) == 1 && len(parent.Values) == 1 {
				sets = append(sets, set{stmt, parent.Values[0]})
				return
			}
		}
		reads = append(reads, ident)
	}
	for ident, obj := range w.p.Info.Defs {
		visit(ident, obj)
	}
	for ident, obj := range w.p.Info.Uses {
		visit(ident, obj)
	}
	if len(sets) == 0 || len(reads) != len(sets) {
		return nil
	}
	slices.SortFunc(sets, func(a, b set) int { return int(a.stmt.Pos() - b.stmt.Pos()) })
	slices.SortFunc(reads, func(a, b *ast.Ident) int { return int(a.Pos() - b.Pos()) })
	block := w.p.Parent(sets[0].stmt)
	stands := map[*ast.Ident]ast.Expr{}
	for i, read := range reads {
		// Each statement reads what the one before it has set, and the retry what the last has set.
		if i+1 < len(sets) && (!code.Contains(sets[i+1].value, read) || w.p.Parent(sets[i+1].stmt) != block) {
			return nil
		}
		stands[read] = sets[i].value
	}
	last := reads[len(reads)-1]
	if last != id || last.Pos() < sets[len(sets)-1].stmt.End() {
		return nil
	}
	// In a loop or a function, the calls would share the schedule, which they use up.
	for n := w.p.Parent(last); n != block; n = w.p.Parent(n) {
		switch n.(type) {
		case nil, *ast.ForStmt, *ast.RangeStmt, *ast.FuncLit:
			return nil
		}
	}
	for _, s := range sets {
		w.deleteStmt(s.stmt)
	}
	return stands
}

// deleteStmt deletes a statement with its line.
func (w *rewriting) deleteStmt(stmt ast.Stmt) {
	if w.deleted[stmt] {
		return
	}
	if w.deleted == nil {
		w.deleted = map[ast.Node]bool{}
	}
	w.deleted[stmt] = true
	file := w.pass.Fset.File(stmt.Pos())
	end := stmt.End()
	if line := file.Line(end); line < file.LineCount() && onlyOnLine(w, file, stmt) {
		end = file.LineStart(line + 1)
	}
	w.edit(stmt.Pos(), end, "")
}

// onlyOnLine reports whether nothing stands behind the statement in its last line.
func onlyOnLine(w *rewriting, file *token.File, stmt ast.Stmt) bool {
	content, err := w.pass.ReadFile(file.Name())
	if err != nil {
		return false
	}
	for _, c := range content[file.Offset(stmt.End()):] {
		switch c {
		case '\n':
			return true
		case ' ', '\t':
		default:
			return false
		}
	}
	return false
}

// waitBackoff reads a wait.Backoff and finds out how many attempts it makes, which Cap also limits.
func (w *rewriting) waitBackoff(e ast.Expr) (schedule, error) {
	e = w.value(e)
	if e == nil {
		return schedule{}, errSchedule
	}
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if v, ok := w.p.Info.ObjectOf(sel.Sel).(*types.Var); ok && v.Pkg() != nil && code.Path(v.Pkg()) == code.PathRetry {
			switch v.Name() {
			case "DefaultRetry":
				return schedule{retries: 4, initial: 10 * time.Millisecond, multiplier: 1}, nil
			case "DefaultBackoff":
				return schedule{retries: 3, initial: 10 * time.Millisecond, multiplier: 5}, nil
			}
		}
	}
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return schedule{}, errSchedule
	}
	fields := map[string]float64{}
	for _, element := range lit.Elts {
		kv, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return schedule{}, errSchedule
		}
		n, ok := w.number(kv.Value)
		key, isName := kv.Key.(*ast.Ident)
		if !ok || !isName {
			return schedule{}, errSchedule
		}
		fields[key.Name] = n
	}
	factor := fields["Factor"]
	if factor == 0 {
		factor = 1
	}
	limit := time.Duration(fields["Cap"])
	s := schedule{initial: time.Duration(fields["Duration"]), multiplier: factor, max: limit}
	if factor < 1 || fields["Steps"] < 1 {
		return schedule{}, errors.New("its schedule has no equivalent")
	}
	// With a Cap, the delay that would exceed it is the last.
	steps, delay := int(fields["Steps"]), fields["Duration"]
	for s.retries < steps-1 {
		s.retries++
		if delay *= factor; factor > 1 && limit > 0 && delay > float64(limit) {
			break
		}
	}
	if s.retries == steps-1 {
		return s, nil
	}
	return s, errors.New("its Cap ends the retries early, which is rarely meant; decide how often the call is to be repeated")
}
