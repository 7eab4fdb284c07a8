package main

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain writes an error for a person, with everything that the server says about it.
func explain(err error) string {
	answer, ok := status.FromError(err)
	if !ok {
		return fmt.Sprintf("error: %v\n", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "error: %s: %s\n", answer.Code(), answer.Message())
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(&text, "  reason: %s\n", detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Fprintf(&text, "  %s: %s\n", violation.Field, violation.Description)
			}
		case *errdetails.PreconditionFailure:
			for _, violation := range detail.Violations {
				fmt.Fprintf(&text, "  %s: %s\n", violation.Subject, violation.Description)
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(&text, "  try again in %s\n", detail.RetryDelay.AsDuration())
		}
	}
	return text.String()
}

// failed is the error of a dataset or a model that did not become READY.
func failed(reason string, answer *status.Status) error {
	if answer.Code() != codes.OK {
		return answer.Err()
	}
	return errors.New(reason) // A cancelled model has a reason and no error.
}
