// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/k8sretry/k8sretry"
)

func unknownCall(op *Op) error {
	panic(fmt.Sprintf("%s does not make the call %q", op.Way.Name, op.Call))
}

// wrapped wraps the methods of typed clients, and calls those with more arguments in a Do.
func wrapped(ctx context.Context, c *Clients, op *Op) error {
	maps, options := c.ConfigMaps, op.Options
	withVerb := func(v k8sretry.Verb) []k8sretry.Option {
		return append([]k8sretry.Option{k8sretry.WithVerb(v)}, options...)
	}
	patch := func(kind types.PatchType, verb k8sretry.Verb) error {
		_, err := k8sretry.Do(ctx, func(ctx context.Context) (*corev1.ConfigMap, error) {
			return maps.Patch(ctx, op.Name, kind, op.patch(), metav1.PatchOptions{})
		}, withVerb(verb)...)
		return err
	}
	switch op.Call {
	case Create, Generate, CreateOwned:
		_, err := k8sretry.Wrap2(maps.Create, options...)(ctx, typed[corev1.ConfigMap](op.created()), metav1.CreateOptions{})
		return err
	case Update:
		obj := op.Object.DeepCopy()
		op.change(obj)
		_, err := k8sretry.Wrap2(maps.Update, options...)(ctx, typed[corev1.ConfigMap](obj), metav1.UpdateOptions{})
		return err
	case UpdateStatus:
		obj := op.Object.DeepCopy()
		op.setStatus(obj)
		_, err := k8sretry.Wrap2(c.Deployments.UpdateStatus, options...)(ctx, typed[appsv1.Deployment](obj), metav1.UpdateOptions{})
		return err
	case Delete:
		return k8sretry.WrapRun2(maps.Delete, options...)(ctx, op.Name, metav1.DeleteOptions{})
	case DeletePod:
		uid := op.Object.GetUID()
		return k8sretry.WrapRun2(c.Pods.Delete, options...)(ctx, op.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	case Evict:
		return k8sretry.WrapRun1(c.Pods.EvictV1, options...)(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: op.Name, Namespace: Namespace}})
	case Merge, MergeVersion:
		return patch(types.MergePatchType, k8sretry.VerbPatch)
	case JSONAppend:
		return patch(types.JSONPatchType, k8sretry.VerbCreate)
	case Apply:
		_, err := k8sretry.Wrap2(maps.Apply, options...)(ctx, applycore.ConfigMap(op.Name, Namespace).WithData(map[string]string{"value": op.Value}),
			metav1.ApplyOptions{FieldManager: op.Manager, Force: true})
		return err
	case Scale:
		_, err := k8sretry.Do(ctx, func(ctx context.Context) (*autoscalingv1.Scale, error) {
			return c.Deployments.UpdateScale(ctx, op.Name, op.scale(), metav1.UpdateOptions{})
		}, withVerb(k8sretry.VerbUpdate)...)
		return err
	case Get, GetCached, GetNotOlder:
		cm, err := k8sretry.Wrap2(maps.Get, options...)(ctx, op.Name, op.getOptions())
		return op.got(cm, err)
	case List, ListCached, ListNotOlder:
		list, err := k8sretry.Wrap1(maps.List, options...)(ctx, op.listOptions())
		return op.got(list, err)
	default:
		return unknownCall(op)
	}
}

func (op *Op) scale() *autoscalingv1.Scale {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: op.Name, Namespace: Namespace, ResourceVersion: op.Object.GetResourceVersion()},
		Spec:       autoscalingv1.ScaleSpec{Replicas: int32(1000 + op.ID)},
	}
}

// plain calls client-go. What retries is a Transport.
func plain(ctx context.Context, c *Clients, op *Op) (err error) {
	maps := c.ConfigMaps
	switch op.Call {
	case Create, Generate, CreateOwned:
		_, err = maps.Create(ctx, typed[corev1.ConfigMap](op.created()), metav1.CreateOptions{})
	case Update:
		obj := op.Object.DeepCopy()
		op.change(obj)
		_, err = maps.Update(ctx, typed[corev1.ConfigMap](obj), metav1.UpdateOptions{})
	case UpdateStatus:
		obj := op.Object.DeepCopy()
		op.setStatus(obj)
		_, err = c.Deployments.UpdateStatus(ctx, typed[appsv1.Deployment](obj), metav1.UpdateOptions{})
	case Delete:
		err = maps.Delete(ctx, op.Name, metav1.DeleteOptions{})
	case DeletePod:
		uid := op.Object.GetUID()
		err = c.Pods.Delete(ctx, op.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	case Evict:
		err = c.Pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: op.Name, Namespace: Namespace}})
	case Merge, MergeVersion:
		_, err = maps.Patch(ctx, op.Name, types.MergePatchType, op.patch(), metav1.PatchOptions{})
	case JSONTest, JSONAppend:
		_, err = maps.Patch(ctx, op.Name, types.JSONPatchType, op.patch(), metav1.PatchOptions{})
	case Apply:
		_, err = maps.Apply(ctx, applycore.ConfigMap(op.Name, Namespace).WithData(map[string]string{"value": op.Value}),
			metav1.ApplyOptions{FieldManager: op.Manager, Force: true})
	case Scale:
		_, err = c.Deployments.UpdateScale(ctx, op.Name, op.scale(), metav1.UpdateOptions{})
	case Get, GetCached, GetNotOlder:
		cm, err := maps.Get(ctx, op.Name, op.getOptions())
		return op.got(cm, err)
	case List, ListCached, ListNotOlder:
		list, err := maps.List(ctx, op.listOptions())
		return op.got(list, err)
	default:
		return unknownCall(op)
	}
	return err
}
