// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/k8sretry/k8sretry"
)

// safe makes the safe writes with typed clients.
func safe(ctx context.Context, c *Clients, op *Op) error {
	maps, options := c.ConfigMaps, op.Options
	switch op.Call {
	case Create, Generate, CreateOwned:
		_, err := k8sretry.Create(ctx, maps, typed[corev1.ConfigMap](op.created()), metav1.CreateOptions{}, options...)
		return err
	case Update:
		obj := op.Object.DeepCopy()
		op.change(obj)
		_, err := k8sretry.Update(ctx, maps, typed[corev1.ConfigMap](obj), metav1.UpdateOptions{}, options...)
		return err
	case UpdateStatus:
		obj := op.Object.DeepCopy()
		op.setStatus(obj)
		_, err := k8sretry.Update(ctx, k8sretry.StatusSubresource(c.Deployments), typed[appsv1.Deployment](obj), metav1.UpdateOptions{}, options...)
		return err
	case Modify:
		_, err := k8sretry.Modify(ctx, maps, op.Name, func(cm *corev1.ConfigMap) error { changed(cm, op.count); return nil }, options...)
		return err
	case ModifyStatus:
		_, err := k8sretry.Modify(ctx, k8sretry.StatusSubresource(c.Deployments), op.Name,
			func(d *appsv1.Deployment) error { changed(d, op.setStatus); return nil }, options...)
		return err
	case Delete:
		return k8sretry.Delete(ctx, maps, typed[corev1.ConfigMap](op.Object), metav1.DeleteOptions{}, options...)
	case DeletePod:
		return k8sretry.Delete(ctx, c.Pods, typed[corev1.Pod](op.Object), metav1.DeleteOptions{}, options...)
	case Evict:
		return k8sretry.Evict(ctx, c.Pods, typed[corev1.Pod](op.Object), metav1.DeleteOptions{}, options...)
	case Merge, MergeVersion:
		_, err := k8sretry.Patch(ctx, maps, op.Name, types.MergePatchType, op.patch(), metav1.PatchOptions{}, options...)
		return err
	case JSONTest, JSONAppend:
		_, err := k8sretry.Patch(ctx, maps, op.Name, types.JSONPatchType, op.patch(), metav1.PatchOptions{}, options...)
		return err
	case Apply:
		_, err := k8sretry.Apply(ctx, maps, applycore.ConfigMap(op.Name, Namespace).WithData(map[string]string{"value": op.Value}),
			metav1.ApplyOptions{FieldManager: op.Manager, Force: true}, options...)
		return err
	default:
		return unknownCall(op)
	}
}

// dynamicSafe makes them with the dynamic client.
func dynamicSafe(ctx context.Context, c *Clients, op *Op) error {
	resource := c.Dynamic.Resource(GroupVersionResource(op.Resource)).Namespace(Namespace)
	objects, statuses, options := k8sretry.Dynamic(resource), k8sretry.StatusSubresource(k8sretry.Dynamic(resource)), op.Options
	switch op.Call {
	case Create, Generate, CreateOwned:
		_, err := k8sretry.Create(ctx, objects, op.created(), metav1.CreateOptions{}, options...)
		return err
	case Update:
		obj := op.Object.DeepCopy()
		op.change(obj)
		_, err := k8sretry.Update(ctx, objects, obj, metav1.UpdateOptions{}, options...)
		return err
	case UpdateStatus:
		obj := op.Object.DeepCopy()
		op.setStatus(obj)
		_, err := k8sretry.Update(ctx, statuses, obj, metav1.UpdateOptions{}, options...)
		return err
	case Modify:
		_, err := k8sretry.Modify(ctx, objects, op.Name, func(u *unstructured.Unstructured) error { op.count(u); return nil }, options...)
		return err
	case ModifyStatus:
		_, err := k8sretry.Modify(ctx, statuses, op.Name, func(u *unstructured.Unstructured) error { op.setStatus(u); return nil }, options...)
		return err
	case Delete, DeletePod:
		return k8sretry.Delete(ctx, objects, op.Object, metav1.DeleteOptions{}, options...)
	case Evict:
		return k8sretry.Evict(ctx, objects, op.Object, metav1.DeleteOptions{}, options...)
	case Merge, MergeVersion:
		_, err := k8sretry.Patch(ctx, objects, op.Name, types.MergePatchType, op.patch(), metav1.PatchOptions{}, options...)
		return err
	case JSONTest, JSONAppend:
		_, err := k8sretry.Patch(ctx, objects, op.Name, types.JSONPatchType, op.patch(), metav1.PatchOptions{}, options...)
		return err
	case Apply:
		_, err := k8sretry.Apply(ctx, objects, op.applied(), metav1.ApplyOptions{FieldManager: op.Manager, Force: true}, options...)
		return err
	default:
		return unknownCall(op)
	}
}
