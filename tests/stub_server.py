"""The model ``tiny`` of the servers that stand in for TensorFlow Serving: version 1 reconstructs x as 2x, 2 as 3x."""

import collections
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

X = np.array([[1, 2, 3, 4], [0.5, 0.5, 1, 0.5]], "float32")
KERNEL_ERROR = (
    "Matrix size-incompatible: In[0]: [1,5], In[1]: [4,2]\n\t [[{{function_node f_669}}{{node a_1/BiasAdd}}]]"
)
STATUS = {
    "model_version_status": [
        {"version": "1", "state": "END", "status": {"error_code": "DATA_LOSS", "error_message": "Can't parse"}},
        {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
    ]
}
ANY_RANK = None
UNKNOWN_MODEL = b'{"error": "Servable not found for request: Latest(nosuch)"}'
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{"
CLOSING = LONG.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)  # The connection belongs to that answer alone.
#: What comes of an answer, and after how many seconds each time a byte more; with None the connection ends.
FAULTS = {
    "vanish": (b"", None),
    "half": (LONG, None),
    "hang": (b"", 20),
    "hang_in_the_middle": (LONG, 20),
    "drip": (LONG, 0.02),
    "drip_and_close": (CLOSING, 0.02),
    "late": (CLOSING, 1.4),
}


def rows(number):
    return np.arange(number * 4, dtype="float32").reshape(number, 4)


def tensor(dtype, *sides):
    """As a server describes one."""
    shape = {"unknown_rank": True} if sides == (ANY_RANK,) else {"dim": [{"size": str(side)} for side in sides]}
    return {"name": "x:0", "dtype": f"DT_{dtype}", "tensor_shape": shape}


def signature_def(**signatures):
    """What a server tells of pairs of inputs and outputs, by dtype and sides of the tensors; init op included."""
    signatures["__saved_model_init_op"] = {}, {"__saved_model_init_op": ("INVALID",)}
    return {
        name: {
            side: {key: tensor(*spec) for key, spec in specs.items()}
            for side, specs in zip(("inputs", "outputs"), pair, strict=True)
        }
        for name, pair in signatures.items()
    }


def signatures(width):
    """Those of ``tiny`` and others of tfae's models, which score."""
    x, score = {"x": ("FLOAT", -1, width)}, {"instance_score": ("FLOAT", -1)}
    return {
        "serving_default": (x, {"reconstruction": ("FLOAT", -1, width)}),
        "score": (x, score),
        "serve_image_bytes": ({"image_bytes": ("STRING", -1)}, score),
        "serve_tf_examples": ({"examples": ("STRING", -1)}, score),
    }


def answer(signature, x, version):
    """What ``tiny`` makes of x; scores are the sums of rows."""
    return (x.sum(axis=1) if signature == "score" else x) * (version + 1)


def error(message):
    return json.dumps({"error": message}).encode()


class Stub(ThreadingHTTPServer):
    """Serves the model ``tiny`` over REST once it is started, and misbehaves when told to.

    Attributes:
        canned: Bodies to answer predictions of a signature with, or pairs of status and body.
        faults: What happens to the next predictions instead: a status and a body, or the name of a misbehaviour.
        versions: Width of each version that is loaded.
        more_signatures: Those that predictions are canned for.
        keeps_open: Whether connections stay open whatever a client asks for.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.canned, self.faults = {}, collections.deque()
        self.versions, self.more_signatures = {1: 4}, {}
        self.keeps_open = False
        self.requests, self.headers, self.connections = [], [], 0
        self.lock, self.release = threading.Lock(), threading.Event()
        self.in_flight = self.most_in_flight = 0
        self.pause = 0.0
        self.before_predict = lambda: None

    def paths(self, ending):
        return [path for path, _ in self.requests if path.endswith(ending)]

    def predictions(self):
        """Bodies of the requests for predictions."""
        return [body for path, body in self.requests if path.endswith(":predict")]

    def sent(self):
        """Rows of each of them."""
        return [json.loads(body)["instances"] for body in self.predictions()]

    def start(self):
        self.server_activate()
        self.thread.start()

    def stop(self):
        self.release.set()
        self.shutdown()
        self.thread.join()

    def handle_error(self, request, client_address):
        pass  # Clients that give up are part of the tests.


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection &= not self.server.keeps_open

    def do_GET(self):
        with self.server.lock:
            self.server.requests.append((self.path, b""))
            self.server.headers.append(self.headers)
        versions = self.server.versions
        version = int(self.path.split("/")[5]) if "/versions/" in self.path else max(versions)
        if version not in versions:
            self.answer(404, UNKNOWN_MODEL)
        else:
            told = self.metadata(version) if self.path.endswith("/metadata") else STATUS
            self.answer(200, json.dumps(told, indent=1).encode())

    def metadata(self, version):
        told = signature_def(**signatures(self.server.versions[version]), **self.server.more_signatures)
        spec = {"name": "tiny", "version": str(version), "signature_name": ""}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": told}}}

    def do_POST(self):
        server = self.server
        if server.faults and server.faults[0] == "deaf":  # It does not read what it is asked.
            server.faults.popleft()
            self.close_connection = True
            server.release.wait(20)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests.append((self.path, body))
            server.headers.append(self.headers)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            fault = server.faults.popleft() if server.faults else None
            server.before_predict()
        time.sleep(server.pause)
        try:
            if isinstance(fault, tuple):
                self.answer(*fault)
            elif fault is not None:
                self.close_connection = True
                self.misbehave(fault)
            else:
                self.answer(*self.predict(json.loads(body)))
        finally:
            with server.lock:
                server.in_flight -= 1

    def predict(self, request):
        canned = self.server.canned.get(request["signature_name"])
        if canned is not None:
            return canned if isinstance(canned, tuple) else (200, canned)
        versions = self.server.versions
        version = int(self.path.split("/")[5].partition(":")[0]) if "/versions/" in self.path else max(versions)
        if version not in versions:
            return 404, UNKNOWN_MODEL
        x = np.array(request["instances"])
        if x.shape[1:] != (versions[version],):
            return 400, error(KERNEL_ERROR)
        y = answer(request["signature_name"], x, version)
        return 200, json.dumps({"predictions": y.tolist()}).encode()

    def misbehave(self, fault):
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            return
        beginning, seconds = FAULTS[fault]
        self.wfile.write(beginning)
        while seconds is not None and not self.server.release.wait(seconds):
            self.wfile.write(b" ")
