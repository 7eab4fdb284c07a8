package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "isogloss.dev/examples/clients/go/gen/isogloss/v1"
)

const (
	chunk   = 256 << 10   // Bytes of a message; the server takes up to 1 MiB.
	patient = time.Minute // The first call of inference loads the model.
)

// upload creates a dataset, streams the file into it, has it validated, and returns its name.
func (s *suite) upload(ctx context.Context, title, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()

	dataset, err := s.datasets.CreateDataset(ctx, &pb.CreateDatasetRequest{
		Dataset:   &pb.Dataset{DisplayName: title},
		RequestId: uuid.NewString(),
	})
	if err != nil {
		return "", err
	}
	stream, err := s.datasets.WriteDataset(ctx)
	if err != nil {
		return "", err
	}
	// The first message says where the bytes go; each other goes on where the last one ended.
	// An EOF means that the server has answered already: CloseAndRecv tells what.
	first := &pb.WriteDatasetRequest{Name: dataset.Name, Split: pb.Split_SPLIT_TRAIN}
	if err := stream.Send(first); err != nil && err != io.EOF {
		return "", err
	}
	sum := sha256.New()
	_, err = io.CopyBuffer(sink{stream}, io.TeeReader(file, sum), make([]byte, chunk))
	if err != nil && err != io.EOF {
		return "", err
	}
	written, err := stream.CloseAndRecv()
	if err != nil {
		return "", err
	}

	_, err = s.datasets.FinalizeDataset(ctx, &pb.FinalizeDatasetRequest{
		Name: dataset.Name,
		Checksums: []*pb.UploadChecksum{{
			Split:     pb.Split_SPLIT_TRAIN,
			SizeBytes: written.CommittedSize,
			Sha256:    hex.EncodeToString(sum.Sum(nil)),
		}},
	})
	if err != nil {
		return "", err
	}
	fmt.Printf("%s: uploaded %d bytes\n", dataset.Name, written.CommittedSize)
	return dataset.Name, nil
}

// sink sends what is written to it as messages of an upload.
type sink struct {
	stream pb.DatasetService_WriteDatasetClient
}

func (s sink) Write(data []byte) (int, error) {
	// gRPC may still hold the message after Send, and the caller uses its buffer again.
	err := s.stream.Send(&pb.WriteDatasetRequest{Data: bytes.Clone(data)})
	return len(data), err
}

// validate follows the validation and tells what came of it.
func (s *suite) validate(ctx context.Context, name string) error {
	stream, err := s.datasets.WatchDataset(ctx, &pb.WatchDatasetRequest{Name: name})
	if err != nil {
		return err
	}
	dataset := &pb.Dataset{}
	for {
		change, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		dataset = change.Dataset
		fmt.Printf("%s: %s\n", name, word(dataset.State))
	}

	for _, size := range dataset.GetReport().GetSplits() {
		fmt.Printf("  %d rows of %s\n", size.RowCount, word(size.Split))
	}
	for _, warning := range dataset.GetReport().GetWarnings() {
		fmt.Printf("  warning: %s\n", warning)
	}
	if dataset.State != pb.Dataset_STATE_READY {
		return failed(dataset.GetError().GetMessage(), status.FromProto(dataset.Error))
	}
	return nil
}

// train creates a model, prints its metrics while it learns, and returns its name.
func (s *suite) train(ctx context.Context, title, dataset, base string, epochs int) (string, error) {
	wanted := &pb.Model{DisplayName: title, Dataset: dataset, BaseModel: base}
	if epochs > 0 {
		wanted.Hyperparameters = &pb.Hyperparameters{Epochs: proto.Int32(int32(epochs))}
	}
	model, err := s.models.CreateModel(ctx, &pb.CreateModelRequest{
		Model:     wanted,
		RequestId: uuid.NewString(),
	})
	if err != nil {
		return "", err
	}

	stream, err := s.models.WatchModel(ctx, &pb.WatchModelRequest{Name: model.Name})
	if err != nil {
		return "", err
	}
	for {
		change, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		model = change.Model
		switch event := change.GetEvent().GetEvent().(type) {
		case *pb.ModelEvent_StateChange:
			fmt.Printf("%s: %s\n", model.Name, word(event.StateChange.State))
		case *pb.ModelEvent_StepMetrics:
			m := event.StepMetrics
			fmt.Printf("  step %4d  loss %.4f  accuracy %.4f  precision %.4f  recall %.4f  f1 %.4f\n",
				m.Step, m.Loss, m.Accuracy, m.Precision, m.Recall, m.F1)
		}
	}
	if model.State != pb.Model_STATE_READY {
		return "", failed(model.StateReason, status.FromProto(model.Error))
	}
	return model.Name, nil
}

// classify prints each text's labels, most confident first.
func (s *suite) classify(ctx context.Context, model string, texts []string) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	answer, err := s.inference.Classify(ctx, &pb.ClassifyRequest{Model: model, Texts: texts})
	if err != nil {
		return err
	}
	for i, result := range answer.Results {
		fmt.Printf("%q\n", texts[i])
		if refused := result.GetError(); refused != nil {
			return status.FromProto(refused).Err()
		}
		for _, label := range result.GetClassification().GetLabels() {
			fmt.Printf("  %s %.4f\n", label.Label, label.Confidence)
		}
	}
	return nil
}

// embed prints the beginning of each text's vector and how close it is to the first.
func (s *suite) embed(ctx context.Context, model string, texts []string) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	answer, err := s.inference.Embed(ctx, &pb.EmbedRequest{Model: model, Texts: texts})
	if err != nil {
		return err
	}
	var first []float32
	for i, result := range answer.Results {
		if refused := result.GetError(); refused != nil {
			return status.FromProto(refused).Err()
		}
		vector := unpack(result.GetVector().GetPacked())
		if len(vector) != int(answer.Dimension) {
			return fmt.Errorf("got %d numbers, expected %d", len(vector), answer.Dimension)
		}
		if i == 0 {
			first = vector
		}
		fmt.Printf("%q\n  %d numbers: %.6f ...  cosine to the first text: %.4f\n",
			texts[i], len(vector), vector[:4], dot(first, vector))
	}
	return nil
}

// word turns STATE_READY into READY, and SPLIT_TRAIN into TRAIN.
func word(value fmt.Stringer) string {
	_, name, _ := strings.Cut(value.String(), "_")
	return name
}
