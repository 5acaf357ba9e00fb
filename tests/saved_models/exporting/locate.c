/* Runs an exported model with the TensorFlow C API alone: no Python, no Keras.

   locate MODEL IMAGE X Y BYTES_OP SPACING_OP POINTS_OP POINTS_INDEX

   prints the points of one PNG, JPEG or BMP file, in millimetres, a landmark a line. The
   names of the operations are those of the signature `serving_default`. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

static TF_Tensor *file_tensor(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *data = malloc(size);
  if (fread(data, 1, size, file) != (size_t)size) {
    perror(path);
    exit(1);
  }
  fclose(file);
  const int64_t one[] = {1};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, one, 1, sizeof(TF_TString));
  TF_TString *string = TF_TensorData(tensor);
  TF_StringInit(string);
  TF_StringCopy(string, data, size);
  free(data);
  return tensor;
}

static TF_Output operation(TF_Graph *graph, const char *name, int index) {
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper == NULL) {
    fprintf(stderr, "the graph has no operation %s\n", name);
    exit(1);
  }
  return output;
}

int main(int argc, char **argv) {
  if (argc != 9) return 2;
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  const int64_t shape[] = {1, 2};
  TF_Tensor *spacing = TF_AllocateTensor(TF_FLOAT, shape, 2, 2 * sizeof(float));
  float *numbers = TF_TensorData(spacing);
  numbers[0] = strtof(argv[3], NULL);
  numbers[1] = strtof(argv[4], NULL);
  TF_Output inputs[] = {operation(graph, argv[5], 0), operation(graph, argv[6], 0)};
  TF_Tensor *given[] = {file_tensor(argv[2]), spacing};
  TF_Output output = operation(graph, argv[7], atoi(argv[8]));
  TF_Tensor *points = NULL;
  TF_SessionRun(session, NULL, inputs, given, 2, &output, &points, 1, NULL, 0, NULL,
                status);
  check(status);
  const float *point = TF_TensorData(points);
  for (int64_t n = 0; n < TF_Dim(points, 1); n++) {
    printf("%.6f %.6f\n", point[2 * n], point[2 * n + 1]);
  }
  return 0;
}
