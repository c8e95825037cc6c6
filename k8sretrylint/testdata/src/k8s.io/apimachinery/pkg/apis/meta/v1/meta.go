// Package v1 has what the tests need of the package of this path.
package v1

type (
	GetOptions    struct{ ResourceVersion string }
	ListOptions   struct{ LabelSelector, Continue string }
	CreateOptions struct{ DryRun []string }
	UpdateOptions struct{ DryRun []string }
	PatchOptions  struct{ DryRun []string }
	ApplyOptions  struct{ Force bool }
	DeleteOptions struct{ Preconditions *Preconditions }
	Preconditions struct{ UID *string }

	ObjectMeta struct {
		Name, Namespace, GenerateName, ResourceVersion string
		Labels, Annotations                            map[string]string
	}
)

const DryRunAll = "All"

func (m *ObjectMeta) SetLabels(l map[string]string) { m.Labels = l }
func (m *ObjectMeta) GetName() string               { return m.Name }

func SetMetaDataLabel(m *ObjectMeta, key, value string) { m.Labels[key] = value }
