// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/types"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/k8sretry/k8sretry/k8sretrylint/internal/code"
)

var errUnlimited = errors.New("it repeats the call without limit")

// plan reads what the retry does. It may make edits of the function.
func (w *rewriting) plan(lit *ast.FuncLit, call code.Reached) (pl plan, err error) {
	switch w.r.Library {
	case code.ClientGo:
		return w.onError()
	case code.Wait:
		return w.exponentialBackoff(lit, call)
	case code.Cenkalti:
		return w.cenkalti(lit, call)
	case code.Avast:
		return w.avast(lit, call)
	case code.Sethvargo:
		return w.sethvargo(lit, call)
	default:
	}
	return pl, errors.New("the library is not known")
}

// onError is retry.OnError(backoff, predicate, fn).
func (w *rewriting) onError() (pl plan, err error) {
	pl.schedule, err = w.waitBackoff(w.r.Options[0])
	if err != nil {
		return pl, err
	}
	predicate := w.r.Options[1]
	pl.covered = w.isCovered(predicate)
	pl.retryIf = w.text(predicate)
	if sel, ok := ast.Unparen(predicate).(*ast.SelectorExpr); ok && sel.Sel.Name == "IsConflict" {
		return pl, errors.New("it repeats conflicts, after which the object has to be read again; use k8sretry.Modify")
	}
	return pl, nil
}

// exponentialBackoff is wait.ExponentialBackoff(backoff, condition), with or without a context.
func (w *rewriting) exponentialBackoff(lit *ast.FuncLit, call code.Reached) (pl plan, err error) {
	pl.ctx = w.r.Ctx
	if pl.schedule, err = w.waitBackoff(w.r.Options[0]); err != nil {
		return pl, err
	}
	if decl := w.p.OutermostFunc(w.r.Expr); decl != nil && (usesName(decl, "ErrWaitTimeout") || usesName(decl, "Interrupted")) {
		return pl, errors.New("the function looks for the error of package wait, where k8sretry returns the error of the call")
	}
	return pl, w.condition(lit, call, &pl)
}

// cenkalti is backoff.Retry(fn, backOff), or since v5 backoff.Retry(ctx, fn, options).
func (w *rewriting) cenkalti(lit *ast.FuncLit, call code.Reached) (pl plan, err error) {
	pl.schedule = schedule{retries: math.MaxInt32, initial: 500 * time.Millisecond, multiplier: 1.5, max: time.Minute, elapsed: 15 * time.Minute}
	if w.r.Callee.Name() != "Retry" && w.r.Callee.Name() != "RetryWithData" {
		return pl, errors.New("it notifies another function of each retry; k8sretry logs them, or use WithObserver")
	}
	if err := w.permanent(lit, call, &pl, "Permanent"); err != nil {
		return pl, err
	}
	pl.ctx = w.r.Ctx
	for _, option := range w.r.Options {
		if pl.ctx == nil { // up to v4
			err = w.backOff(&pl, option)
		} else {
			err = w.cenkaltiOption(&pl, option)
		}
		if err != nil {
			return pl, err
		}
	}
	if pl.retries == math.MaxInt32 && pl.elapsed == 0 {
		return pl, errUnlimited
	}
	return pl, nil
}

// libraryCall is a call of a function of the library of the retry, nil if e is none.
func (w *rewriting) libraryCall(e ast.Expr) (*ast.CallExpr, string) {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return nil, ""
	}
	fn := w.p.Callee(call)
	if fn == nil || fn.Pkg() == nil || code.Path(fn.Pkg()) != code.Path(w.r.Callee.Pkg()) {
		return nil, ""
	}
	return call, fn.Name()
}

// backOff reads NewExponentialBackOff() and what is around it.
func (w *rewriting) backOff(pl *plan, e ast.Expr) error {
	if id, ok := ast.Unparen(e).(*ast.Ident); ok {
		if value, ok, err := w.fields(pl, id); ok || err != nil {
			if err != nil {
				return err
			}
			e = value
		}
	}
	value := w.made(e)
	if value == nil {
		value = w.value(e)
	}
	if value == nil {
		return errSchedule
	}
	call, name := w.libraryCall(value)
	if call == nil {
		return errSchedule
	}
	switch {
	case name == "NewExponentialBackOff" && len(call.Args) == 0:
		return nil
	case name == "NewConstantBackOff" && len(call.Args) == 1:
		d, ok := w.number(call.Args[0])
		if !ok {
			return errSchedule
		}
		pl.initial, pl.multiplier, pl.max, pl.elapsed = time.Duration(d), 1, 0, 0
		return nil
	case name == "WithMaxRetries" && len(call.Args) == 2:
		n, ok := w.number(call.Args[1])
		if !ok || n < 1 {
			return errSchedule
		}
		if err := w.backOff(pl, call.Args[0]); err != nil {
			return err
		}
		pl.retries = int(n)
		return nil
	case name == "WithContext" && len(call.Args) == 2:
		pl.ctx = call.Args[1]
		return w.backOff(pl, call.Args[0])
	}
	return errSchedule
}

// fields reads a variable of NewExponentialBackOff() whose fields are set before it is used once, and deletes
// these statements.
func (w *rewriting) fields(pl *plan, id *ast.Ident) (value ast.Expr, ok bool, err error) {
	v, isVar := w.p.Info.ObjectOf(id).(*types.Var)
	if !isVar || w.p.Value(v) == nil || v.Parent() == w.p.Types.Scope() {
		return nil, false, nil
	}
	value = ast.Unparen(w.p.Value(v))
	call, name := w.libraryCall(value)
	define, isAssign := w.p.Parent(w.p.Value(v)).(*ast.AssignStmt)
	if call == nil || name != "NewExponentialBackOff" || len(call.Args) > 0 || !isAssign || len(define.Lhs) != 1 {
		return nil, false, nil
	}
	var sets []*ast.AssignStmt
	for used, obj := range w.p.Info.Uses {
		if obj != v || used == id {
			continue
		}
		sel, isField := w.p.Parent(used).(*ast.SelectorExpr)
		if !isField {
			return nil, false, errSchedule
		}
		set, isSet := w.p.Parent(sel).(*ast.AssignStmt)
		if !isSet || len(set.Lhs) != 1 || set.Lhs[0] != ast.Expr(sel) || w.p.Parent(set) != w.p.Parent(define) {
			return nil, false, errSchedule
		}
		n, isNumber := w.number(set.Rhs[0])
		if !isNumber {
			return nil, false, errSchedule
		}
		switch sel.Sel.Name {
		case "InitialInterval":
			pl.initial = time.Duration(n)
		case "MaxInterval":
			pl.max = time.Duration(n)
		case "MaxElapsedTime":
			pl.elapsed = time.Duration(n)
		case "Multiplier":
			if n < 1 {
				return nil, false, errSchedule
			}
			pl.multiplier = n
		case "RandomizationFactor":
		default:
			return nil, false, errSchedule
		}
		sets = append(sets, set)
	}
	for _, set := range sets {
		w.deleteStmt(set)
	}
	w.deleteStmt(define)
	return value, true, nil
}

// cenkaltiOption reads an option of v5.
func (w *rewriting) cenkaltiOption(pl *plan, e ast.Expr) error {
	call, name := w.libraryCall(e)
	if call == nil || len(call.Args) != 1 {
		return errSchedule
	}
	if name == "WithBackOff" {
		elapsed := pl.elapsed
		err := w.backOff(pl, call.Args[0])
		pl.elapsed = elapsed // an option of its own in v5
		return err
	}
	n, ok := w.number(call.Args[0])
	if !ok {
		return errSchedule
	}
	switch name {
	case "WithMaxTries":
		pl.retries = int(n) - 1
		if n == 0 {
			pl.retries = math.MaxInt32
		}
	case "WithMaxElapsedTime":
		pl.elapsed = time.Duration(n)
	default:
		return errors.New("it uses " + name)
	}
	return nil
}

// avast is retry.Do(fn, options), or since v5 retry.New(options).Do(fn).
func (w *rewriting) avast(lit *ast.FuncLit, call code.Reached) (pl plan, err error) {
	attempts, delay := 10.0, 100*time.Millisecond
	if usesType(w, w.file, "Error") {
		return pl, errors.New("the file uses the error type of the library, where k8sretry returns the error of the call")
	}
	if err := w.permanent(lit, call, &pl, "Unrecoverable"); err != nil {
		return pl, err
	}
	options := w.r.Options
	if sel, ok := ast.Unparen(w.r.Expr.Fun).(*ast.SelectorExpr); ok && w.r.Callee.Signature().Recv() != nil {
		made, name := w.libraryCall(sel.X)
		if made == nil || name != "New" && name != "NewWithData" {
			return pl, errors.New("the retrier is made elsewhere")
		}
		options = made.Args
	}
	for _, e := range options {
		option, name := w.libraryCall(e)
		if option == nil || len(option.Args) != 1 {
			return pl, errSchedule
		}
		arg := option.Args[0]
		n, isNumber := w.number(arg)
		switch name {
		case "Context":
			pl.ctx = arg
			continue
		case "LastErrorOnly":
			continue
		case "RetryIf":
			if pl.retryIf != everyError || pl.covered {
				return pl, errors.New("which errors it repeats is not visible")
			}
			pl.covered, pl.retryIf = w.isCovered(arg), w.text(arg)
			continue
		}
		if !isNumber {
			return pl, errors.New("it uses " + name)
		}
		switch name {
		case "Attempts":
			attempts = n
		case "Delay":
			delay = time.Duration(n)
		case "MaxDelay":
			pl.max = time.Duration(n)
		case "MaxJitter":
		default:
			return pl, errors.New("it uses " + name)
		}
	}
	if attempts < 1 {
		return pl, errUnlimited
	}
	pl.retries, pl.initial, pl.multiplier = int(attempts)-1, delay, 2
	return pl, nil
}

// usesType reports whether a type of the library is named in n.
func usesType(w *rewriting, n ast.Node, name string) bool {
	found := false
	ast.Inspect(n, func(m ast.Node) bool {
		if sel, ok := m.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if t, ok := w.p.Info.ObjectOf(sel.Sel).(*types.TypeName); ok && t.Pkg() == w.r.Callee.Pkg() {
				found = true
			}
		}
		return !found
	})
	return found
}

// sethvargo is retry.Do(ctx, backoff, fn) and its siblings.
func (w *rewriting) sethvargo(lit *ast.FuncLit, call code.Reached) (pl plan, err error) {
	pl.ctx = w.r.Ctx
	pl.retries = math.MaxInt32
	switch w.r.Callee.Name() {
	case "Do", "DoValue":
	default:
		return pl, errUnlimited
	}
	if err := w.nextBackoff(&pl, w.r.Options[0]); err != nil {
		return pl, err
	}
	if pl.retries == math.MaxInt32 && pl.elapsed == 0 {
		return pl, errUnlimited
	}
	marks, all := w.marked(lit, "RetryableError")
	if !all || len(marks) == 0 {
		return pl, errors.New("which errors it repeats is not visible")
	}
	for _, mark := range marks {
		if err := w.retryable(&pl, lit, call, mark); err != nil {
			return pl, err
		}
	}
	if pl.retryIf == everyError && !w.repeatsAll(lit, call, marks) {
		return pl, errors.New("it repeats some errors of the call and not others")
	}
	return pl, nil
}

// repeatsAll reports whether the function returns no error that is not marked.
func (w *rewriting) repeatsAll(lit *ast.FuncLit, call code.Reached, marks []*ast.CallExpr) bool {
	passed := false // no error gets this far
	for _, ret := range returnsOf(lit) {
		if len(ret.Results) == 0 {
			return false
		}
		result := ast.Unparen(ret.Results[len(ret.Results)-1])
		isMark := slices.ContainsFunc(marks, func(mark *ast.CallExpr) bool { return ast.Expr(mark) == result })
		cond := w.guard(ret, lit)
		switch {
		case isMark && cond != nil && w.isErrNotNil(cond, w.errVar(call)):
			branch := w.p.Parent(w.p.Parent(ret))
			passed = passed || w.p.Parent(branch) == ast.Node(lit.Body)
		case isMark || isNil(result):
		case w.p.ObjectOf(result) != w.errVar(call) || !passed:
			return false
		}
	}
	return true
}

// retryable reads return RetryableError(err), and the condition under which it is reached.
func (w *rewriting) retryable(pl *plan, lit *ast.FuncLit, call code.Reached, mark *ast.CallExpr) error {
	hidden := errors.New("which errors it repeats is not visible")
	errVar := w.errVar(call)
	ret, ok := w.p.Parent(mark).(*ast.ReturnStmt)
	if !ok || errVar == nil {
		return hidden
	}
	cond := w.guard(ret, lit)
	if cond == nil {
		// RetryableError(nil) is nil.
		if w.p.Parent(ret) != ast.Node(lit.Body) || w.p.ObjectOf(mark.Args[0]) != errVar {
			return hidden
		}
		pl.covered, pl.retryIf = false, everyError
		return nil
	}
	if err := w.repeated(pl, cond, errVar); err != nil {
		return err
	}
	// The error that is returned has to be the one that the condition has looked at, or one around it.
	arg := mark.Args[0]
	if pl.retryIf == everyError || w.p.ObjectOf(arg) == errVar || pl.covered && w.wraps(arg, errVar) {
		return nil
	}
	return hidden
}

// wraps reports whether the expression is fmt.Errorf("...: %w", err).
func (w *rewriting) wraps(e ast.Expr, err types.Object) bool {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok || !code.IsFunc(w.p.Callee(call), "fmt", "Errorf") || len(call.Args) < 2 || w.p.ObjectOf(call.Args[len(call.Args)-1]) != err {
		return false
	}
	format := w.p.Info.Types[call.Args[0]].Value
	return format != nil && format.Kind() == constant.String && strings.HasSuffix(constant.StringVal(format), "%w")
}

var errShared = errors.New("its schedule is shared by several calls, which use it up together")

// nextBackoff reads NewExponential(base) and what is around it.
func (w *rewriting) nextBackoff(pl *plan, e ast.Expr) error {
	value := w.made(e)
	if value == nil {
		if v, ok := w.p.ObjectOf(e).(*types.Var); ok && v.Parent() == w.p.Types.Scope() {
			return errShared
		}
		return errSchedule
	}
	call, name := w.libraryCall(value)
	if call == nil || len(call.Args) == 0 {
		return errSchedule
	}
	if last := call.Args[len(call.Args)-1]; len(call.Args) == 2 || name == "WithFullJitter" {
		if err := w.nextBackoff(pl, last); err != nil {
			return err
		}
	}
	if name == "WithFullJitter" {
		pl.jitter = true
		return nil
	}
	n, ok := w.number(call.Args[0])
	if !ok || n < 0 || n == 0 && name != "WithMaxRetries" && name != "WithJitter" && name != "WithJitterPercent" {
		return errSchedule
	}
	// Of two limits the tighter one counts.
	tighter := func(limit *time.Duration) {
		if d := time.Duration(n); *limit == 0 || d < *limit {
			*limit = d
		}
	}
	switch name {
	case "NewExponential":
		pl.initial, pl.multiplier = time.Duration(n), 2
	case "NewConstant":
		pl.initial, pl.multiplier = time.Duration(n), 1
	case "NewFibonacci":
		pl.initial, pl.fibonacci = time.Duration(n), true
	case "WithMaxRetries":
		pl.retries = min(pl.retries, int(n))
	case "WithCappedDuration":
		tighter(&pl.max)
	case "WithMaxDuration":
		tighter(&pl.elapsed)
	case "WithJitter", "WithJitterPercent":
		pl.jitter = true
	default:
		return errors.New("its schedule is " + name)
	}
	return nil
}
