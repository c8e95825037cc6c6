// SPDX-License-Identifier: Apache-2.0

// Package actors are the others who use the API of a world at the same time: controllers that
// add finalizers and labels, strip or replace annotations, create again what is deleted, delete
// what is created, scale, apply and evict. Some use this library, on connections without faults;
// the others send their requests straight to the server.
package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/k8sretry/k8sretry"
	"github.com/k8sretry/k8sretry/worlds/faults"
	"github.com/k8sretry/k8sretry/worlds/model"
	"github.com/k8sretry/k8sretry/worlds/ways"
)

// Finalizer is that of the actors.
const Finalizer = "example.com/actor"

// Actors react to what callers change.
type Actors struct {
	Seed    uint64
	Rate    float64 // of the changes that they react to
	Server  *model.Server
	Clients *ways.Clients // of a controller with this library

	mu      sync.Mutex
	reacted map[string]int // by object
	pending sync.WaitGroup
}

// Wait waits for all reactions.
func (a *Actors) Wait() { a.pending.Wait() }

const forReaction = 100

// OnChange decides whether anybody reacts to a change. It is called in the order of the changes.
func (a *Actors) OnChange(c model.Change) {
	if c.Type != watch.Deleted && c.Object.GetDeletionTimestamp() != nil {
		a.release(c)
		return
	}
	op, byOp := strings.CutPrefix(c.By, "op:")
	if !byOp {
		return
	}
	id, _ := strconv.Atoi(op)
	a.mu.Lock()
	if a.reacted == nil {
		a.reacted = make(map[string]int)
	}
	n := a.reacted[op]
	a.reacted[op]++
	a.mu.Unlock()
	r := faults.Rand(a.Seed, forReaction, uint64(id), uint64(n))
	if r.Float64() >= a.Rate {
		return
	}
	// Half of the reactions come before the call can look, the others seconds later.
	delay := time.Duration(r.IntN(300)) * time.Millisecond
	if r.IntN(2) == 0 {
		delay = time.Duration(r.IntN(8000)) * time.Millisecond
	}
	choice := r.IntN(10)
	a.after(delay, func() { a.react(c, choice) })
}

func (a *Actors) after(d time.Duration, do func()) {
	a.pending.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		<-timer.C
		do()
	})
}

// react is the reaction to a change by a caller.
func (a *Actors) react(c model.Change, choice int) {
	if c.Type == watch.Deleted {
		if choice < 6 {
			a.recreate(c)
		}
		return
	}
	if c.Key.Resource == "poddisruptionbudgets" {
		return
	}
	switch choice {
	case 0, 1:
		a.change(c.Key, "finalizing-controller", func(obj *unstructured.Unstructured) {
			obj.SetFinalizers(append(obj.GetFinalizers(), Finalizer))
			label(obj)
		})
	case 2, 3:
		a.modify(c.Key)
	case 4:
		a.change(c.Key, "stripping-controller", func(obj *unstructured.Unstructured) { obj.SetAnnotations(nil) })
	case 5:
		a.change(c.Key, "replacing-controller", func(obj *unstructured.Unstructured) {
			obj.SetAnnotations(map[string]string{"example.com/owner": "others"})
		})
	case 6:
		a.send(http.MethodDelete, c.Key, "", "deleting-controller", "", nil)
	case 7:
		if c.Key.Resource == "pods" {
			body := map[string]any{"metadata": map[string]any{"name": c.Key.Name, "namespace": c.Key.Namespace}}
			a.send(http.MethodPost, c.Key, "eviction", "evicting-controller", "", body)
			return
		}
		a.apply(c.Key)
	case 8:
		if c.Key.Resource == "deployments" || c.Key.Resource == "widgets" {
			a.send(http.MethodPatch, c.Key, "scale", "scaling-controller", "application/merge-patch+json", map[string]any{"spec": map[string]any{"replicas": 7}})
			return
		}
		a.apply(c.Key)
	default: // the same field as the caller
		a.change(c.Key, "competing-controller", func(obj *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(obj.Object, "others", field(c.Key.Resource), "value")
		})
	}
}

func label(obj *unstructured.Unstructured) {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["example.com/seen"] = "true"
	obj.SetLabels(labels)
}

func field(resource string) string {
	switch resource {
	case "configmaps":
		return "data"
	case "widgets":
		return "spec"
	}
	return "status"
}

// change reads an object and replaces it, until nobody else was faster.
func (a *Actors) change(key model.Key, who string, mutate func(*unstructured.Unstructured)) {
	for range 5 {
		obj := a.Server.Look(key)
		if obj == nil {
			return
		}
		mutate(obj)
		if a.send(http.MethodPut, key, "", who, "application/json", obj.Object).Code != http.StatusConflict {
			return
		}
	}
}

// apply is a server-side apply of another manager.
func (a *Actors) apply(key model.Key) {
	obj := ways.New(key.Resource, key.Name, "")
	delete(obj.Object, "spec")
	delete(obj.Object, "data")
	obj.SetLabels(map[string]string{"example.com/applied": "true"})
	if a.Server.Look(key) != nil {
		a.send(http.MethodPatch, key, "", "applying-controller", "application/apply-patch+yaml", obj.Object)
	}
}

// recreate creates an object again that was deleted.
func (a *Actors) recreate(c model.Change) {
	obj := ways.New(c.Key.Resource, c.Key.Name, "again")
	key := c.Key
	key.Name = ""
	a.send(http.MethodPost, key, "", "recreating-controller", "application/json", obj.Object)
}

// release lets an object go that is being deleted: it removes the finalizer of the actors, and
// what runs on a node stops.
func (a *Actors) release(c model.Change) {
	r := faults.Rand(a.Seed, forReaction+1, uint64(c.Version))
	delay := time.Duration(r.IntN(6000)) * time.Millisecond
	for _, f := range c.Object.GetFinalizers() {
		if f == Finalizer {
			a.after(delay, func() {
				a.change(c.Key, "finalizing-controller", func(obj *unstructured.Unstructured) {
					if obj.GetUID() == c.UID {
						obj.SetFinalizers(nil)
					}
				})
			})
			return
		}
	}
	if c.Key.Resource == "pods" && c.Before != nil && c.Before.GetDeletionTimestamp() == nil {
		a.after(delay, func() {
			a.send(http.MethodDelete, c.Key, "", "kubelet", "application/json",
				map[string]any{"gracePeriodSeconds": 0, "preconditions": map[string]any{"uid": string(c.UID)}})
		})
	}
}

// modify is a controller that uses this library.
func (a *Actors) modify(key model.Key) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := []k8sretry.Option{k8sretry.WithMaxRetries(4), k8sretry.WithInitialDelay(100 * time.Millisecond), k8sretry.WithLogger(nil)}
	if key.Resource == "configmaps" {
		_, _ = k8sretry.Modify(ctx, a.Clients.ConfigMaps, key.Name, func(cm *corev1.ConfigMap) error {
			cm.Finalizers = append(cm.Finalizers, Finalizer)
			return nil
		}, options...)
		return
	}
	client := k8sretry.Dynamic(a.Clients.Dynamic.Resource(ways.GroupVersionResource(key.Resource)).Namespace(key.Namespace))
	_, _ = k8sretry.Modify(ctx, client, key.Name, func(obj *unstructured.Unstructured) error {
		label(obj)
		return nil
	}, options...)
}

// send sends a request straight to the server.
func (a *Actors) send(method string, key model.Key, subresource, who, contentType string, body any) model.Response {
	return Send(a.Server, method, key, subresource, who, contentType, body)
}

// Send sends a request straight to a server, without connections and faults.
func Send(s *model.Server, method string, key model.Key, subresource, who, contentType string, body any) model.Response {
	gvr := ways.GroupVersionResource(key.Resource)
	path := "/api/" + gvr.Version
	if gvr.Group != "" {
		path = "/apis/" + gvr.Group + "/" + gvr.Version
	}
	if key.Resource == "poddisruptionbudgets" {
		path = "/apis/policy/v1"
	}
	path += fmt.Sprintf("/namespaces/%s/%s", key.Namespace, key.Resource)
	for _, part := range []string{key.Name, subresource} {
		if part != "" {
			path += "/" + part
		}
	}
	var data bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&data).Encode(body); err != nil {
			panic(err)
		}
		if contentType == "" {
			contentType = "application/json"
		}
	}
	return s.Handle(&model.Request{
		Method: method, Path: path, Query: url.Values{"fieldManager": {who}}, ContentType: contentType, UserAgent: who + "/1.0", Body: data.Bytes(), By: who,
	})
}
