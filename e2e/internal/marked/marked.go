// SPDX-License-Identifier: Apache-2.0

// Package marked replaces the generated parts of a document.
package marked

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Write puts the text between the markers <!-- name:begin --> and <!-- name:end --> of
// the document, or prints it if the document has no such markers.
func Write(path, name, text string, stdout io.Writer) error {
	document, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	spliced, ok := splice(document, "<!-- "+name+":begin -->", "<!-- "+name+":end -->", text)
	if !ok {
		_, err := io.WriteString(stdout, text)
		return err
	}
	return os.WriteFile(path, spliced, 0o644)
}

func splice(document []byte, begin, end, text string) ([]byte, bool) {
	before, rest, ok := bytes.Cut(document, []byte(begin))
	if !ok {
		return nil, false
	}
	_, after, ok := bytes.Cut(rest, []byte(end))
	if !ok {
		return nil, false
	}
	return fmt.Appendf(nil, "%s%s\n%s%s%s", before, begin, text, end, after), true
}
