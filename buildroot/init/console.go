// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// say writes a line for whoever watches the console.
func say(format string, args ...any) {
	// There is nobody to tell if it fails.
	_, _ = fmt.Fprintf(os.Stdout, "in-camera: "+format+"\n", args...)
}

// maxLine bounds what a person types in one line, in bytes.
const maxLine = 256

// A prompt asks the person at the console.
type prompt struct {
	out io.Writer
	in  *bufio.Reader
	dog *watchdog // is told who is waited for
}

func newPrompt(in io.Reader, out io.Writer, dog *watchdog) prompt {
	return prompt{out, bufio.NewReaderSize(in, maxLine), dog}
}

// ask writes the question and returns the next line without blanks around it.
// What is longer than a line may be counts as empty.
func (p prompt) ask(question string) (string, error) {
	if _, err := fmt.Fprintf(p.out, "in-camera: %s\n", question); err != nil {
		return "", err
	}
	p.dog.person()
	defer p.dog.step()
	line, tooLong, err := p.in.ReadLine()
	text := string(line)
	for tooLong && err == nil {
		text = ""
		_, tooLong, err = p.in.ReadLine()
	}
	return strings.TrimSpace(text), err
}
