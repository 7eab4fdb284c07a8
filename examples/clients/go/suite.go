package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	pb "isogloss.dev/examples/clients/go/gen/isogloss/v1"
)

// suite is one client per service: they are separate servers.
type suite struct {
	datasets    pb.DatasetServiceClient
	models      pb.ModelServiceClient
	inference   pb.InferenceServiceClient
	connections []*grpc.ClientConn
}

// retries repeats calls that did not reach a server. Repeating is safe: creations carry a
// request id, and everything else asks for the same end state.
const retries = `{"methodConfig": [{"name": [{}], "retryPolicy": {
	"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// connect prepares the connections that the environment describes.
func connect() (*suite, error) {
	options := []grpc.DialOption{grpc.WithDefaultServiceConfig(retries)}
	ca := os.Getenv("ISOGLOSS_TLS_CA")
	if ca == "" {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		tls, err := credentials.NewClientTLSFromFile(ca, "")
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(tls))
	}
	if key := os.Getenv("ISOGLOSS_API_KEY"); key != "" {
		options = append(options, grpc.WithPerRPCCredentials(apiKey(key)))
	}

	s := &suite{}
	dial := func(variable, address string) (*grpc.ClientConn, error) {
		connection, err := grpc.NewClient(cmp.Or(os.Getenv(variable), address), options...)
		if err == nil {
			s.connections = append(s.connections, connection)
		}
		return connection, err
	}
	ingest, err1 := dial("ISOGLOSS_INGEST", "127.0.0.1:50051")
	trainer, err2 := dial("ISOGLOSS_TRAINER", "127.0.0.1:50052")
	inference, err3 := dial("ISOGLOSS_INFERENCE", "127.0.0.1:50053")
	if err := errors.Join(err1, err2, err3); err != nil {
		s.Close()
		return nil, err
	}
	s.datasets = pb.NewDatasetServiceClient(ingest)
	s.models = pb.NewModelServiceClient(trainer)
	s.inference = pb.NewInferenceServiceClient(inference)
	return s, nil
}

// Close ends the connections.
func (s *suite) Close() {
	for _, connection := range s.connections {
		connection.Close()
	}
}

// apiKey goes with each call as a bearer token.
type apiKey string

func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(k)}, nil
}

// RequireTransportSecurity allows a suite on loopback to have keys and no TLS.
func (apiKey) RequireTransportSecurity() bool { return false }
