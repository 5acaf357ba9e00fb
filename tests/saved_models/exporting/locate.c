/* Runs an exported model with the TensorFlow C API alone: no Python, no Keras.

   locate MODEL POINTS_OP POINTS_INDEX [INPUT_OP SHAPE FILE]...

   prints the points of one image, a landmark a line. SHAPE is `bytes` for the bytes of a
   PNG, JPEG or BMP file, otherwise the sizes of an array, `1,480,384,1`, whose float32
   numbers the file holds. The names of the operations are those of a signature. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MAX_INPUTS 4
#define MAX_AXES 8

static void fail(const char *about, const char *name) {
  fprintf(stderr, "%s %s\n", about, name);
  exit(1);
}

static void check(const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) fail("TensorFlow:", TF_Message(status));
}

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail("cannot open", path);
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char *data = malloc(*size);
  if (fread(data, 1, *size, file) != *size) fail("cannot read", path);
  fclose(file);
  return data;
}

static TF_Tensor *bytes_tensor(const char *data, size_t size) {
  const int64_t one[] = {1};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, one, 1, sizeof(TF_TString));
  TF_TString *string = TF_TensorData(tensor);
  TF_StringInit(string);
  TF_StringCopy(string, data, size);
  return tensor;
}

static TF_Tensor *float_tensor(char *shape, const char *data, size_t size) {
  int64_t sizes[MAX_AXES];
  int axes = 0;
  for (char *text = strtok(shape, ","); text && axes < MAX_AXES; text = strtok(NULL, ","))
    sizes[axes++] = atoll(text);
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, sizes, axes, size);
  memcpy(TF_TensorData(tensor), data, size);
  return tensor;
}

static TF_Output operation(TF_Graph *graph, const char *name, int index) {
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper == NULL) fail("the graph has no operation", name);
  return output;
}

int main(int argc, char **argv) {
  const int count = (argc - 4) / 3;
  if (argc < 7 || (argc - 4) % 3 || count > MAX_INPUTS) return 2;
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output inputs[MAX_INPUTS];
  TF_Tensor *given[MAX_INPUTS];
  for (int i = 0; i < count; i++) {
    char **arguments = argv + 4 + 3 * i;
    size_t size;
    char *data = read_file(arguments[2], &size);
    inputs[i] = operation(graph, arguments[0], 0);
    given[i] = strcmp(arguments[1], "bytes") == 0
                   ? bytes_tensor(data, size)
                   : float_tensor(arguments[1], data, size);
    free(data);
  }
  TF_Output output = operation(graph, argv[2], atoi(argv[3]));
  TF_Tensor *points = NULL;
  TF_SessionRun(session, NULL, inputs, given, count, &output, &points, 1, NULL, 0, NULL,
                status);
  check(status);
  const float *numbers = TF_TensorData(points);
  const int64_t columns = TF_Dim(points, 2);
  for (int64_t n = 0; n < TF_Dim(points, 1); n++)
    for (int64_t k = 0; k < columns; k++)
      printf("%.6f%c", numbers[n * columns + k], k + 1 < columns ? ' ' : '\n');
  return 0;
}
