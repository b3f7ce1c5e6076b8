// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
)

type openAPISchema struct {
	Type                 string
	Properties           map[string]json.RawMessage
	Required             []string
	AdditionalProperties *bool
}

type openAPIOperation struct {
	OperationID string
	Security    []map[string][]string
	MaxBytes    int64 `json:"x-max-bytes"`
	RequestBody struct{ Content map[string]json.RawMessage }
	Responses   map[string]json.RawMessage
}

type openAPIDoc struct {
	OpenAPI    string
	Paths      map[string]map[string]openAPIOperation
	Components struct{ Schemas map[string]openAPISchema }
}

func readOpenAPI(t *testing.T) openAPIDoc {
	t.Helper()
	var doc openAPIDoc
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpenAPI compares the document with the table of routes, both ways.
func TestOpenAPI(t *testing.T) {
	doc := readOpenAPI(t)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	served := map[string]bool{}
	for _, r := range routes {
		served[strings.ToLower(r.method)+" "+r.path] = true
		op, ok := doc.Paths[r.path][strings.ToLower(r.method)]
		if !ok {
			t.Errorf("%s %s is not in the document", r.method, r.path)
			continue
		}
		if op.MaxBytes != r.limit {
			t.Errorf("%s %s: x-max-bytes %d, limit %d", r.method, r.path, op.MaxBytes, r.limit)
		}
		var mediaTypes []string
		if r.mediaType != "" {
			mediaTypes = []string{r.mediaType}
		}
		if got := slices.Collect(maps.Keys(op.RequestBody.Content)); !slices.Equal(got, mediaTypes) {
			t.Errorf("%s %s: bodies %q, want %q", r.method, r.path, got, mediaTypes)
		}
		var schemes []string
		for _, s := range op.Security {
			schemes = append(schemes, slices.Collect(maps.Keys(s))...)
		}
		want := map[role][]string{identity: {"certificate"}, member: {"token", "certificate"}, security: {"token", "certificate"}}[r.role]
		if !slices.Equal(schemes, want) {
			t.Errorf("%s %s: security %q, want %q", r.method, r.path, schemes, want)
		}
		if _, ok := op.Responses["default"]; !ok {
			t.Errorf("%s %s: no problem among the responses", r.method, r.path)
		}
	}
	for path, operations := range doc.Paths {
		for method := range operations {
			if !served[method+" "+path] {
				t.Errorf("%s %s is in the document and not served", method, path)
			}
		}
	}
}

// TestOpenAPISchemas compares the members of the document's objects with those
// of the types that are on the wire.
func TestOpenAPISchemas(t *testing.T) {
	doc := readOpenAPI(t)
	for name, value := range map[string]any{
		"KeyProof": enrol.KeyProof{}, "BeginRequest": enrol.BeginRequest{}, "BeginResponse": enrol.BeginResponse{},
		"FinishRequest": enrol.FinishRequest{}, "FinishResponse": enrol.FinishResponse{}, "AckRequest": enrol.AckRequest{},
		"ChallengeRequest": enrol.ChallengeRequest{}, "ChallengeResponse": enrol.ChallengeResponse{},
		"RenewRequest": enrol.RenewRequest{}, "CodeRequest": enrol.CodeRequest{}, "CodeResponse": enrol.CodeResponse{},
		"EKRequest": enrol.EKRequest{}, "ReferenceDocument": enrol.ReferenceDocument{}, "ReferenceEntry": enrol.ReferenceEntry{},
		"BundleEntry": enrol.BundleEntry{}, "DirectoryEntry": enrol.DirectoryEntry{}, "SiteInfo": enrol.SiteInfo{}, "Room": enrol.Room{}, "AuditLine": auditLine{}, "Problem": problemBody{},
	} {
		schema, ok := doc.Components.Schemas[name]
		if !ok {
			t.Errorf("no schema %s", name)
			continue
		}
		var members, required []string
		typ := reflect.TypeOf(value)
		for i := range typ.NumField() {
			tag, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			members = append(members, tag)
			if !strings.Contains(options, "omit") {
				required = append(required, tag)
			}
		}
		slices.Sort(members)
		slices.Sort(required)
		if got := slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(got, members) {
			t.Errorf("%s has %q in the document, %q in the program", name, got, members)
		}
		if got := slices.Sorted(slices.Values(schema.Required)); !slices.Equal(got, required) {
			t.Errorf("%s requires %q in the document, %q in the program", name, got, required)
		}
		if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
			t.Errorf("%s: unknown members are refused, and the document does not say so", name)
		}
	}
	var codes struct{ Enum []evidence.Code }
	if err := json.Unmarshal(doc.Components.Schemas["Problem"].Properties["code"], &codes); err != nil {
		t.Fatal(err)
	}
	for _, c := range append(evidence.Codes(), codeBusy, codeUnauthorized, codeNotFound, codeConflict, codeMediaType, codeInternal) {
		if !slices.Contains(codes.Enum, c) {
			t.Errorf("the document does not know the code %s", c)
		}
	}
}
