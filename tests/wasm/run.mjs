// Runs the program under node, and fails unless it says what it should.
import { readFileSync } from "node:fs";

const expected = [
    "squares: Ok([9, 1, 4])",
    "told: a child failed",
    "failed: child 1 (fetch): no answer",
    "cancelled: the deadline has passed",
    "done",
];
const lines = [];

const host = {
    set_timeout: (id, milliseconds) => setTimeout(() => exports.fire(id), milliseconds),
    print: (text, length) => {
        const line = new TextDecoder().decode(new Uint8Array(exports.memory.buffer, text, length));
        console.log(line);
        lines.push(line);
    },
};
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const { exports } = new WebAssembly.Instance(module, { host });

process.on("exit", () => {
    if (JSON.stringify(lines) !== JSON.stringify(expected)) {
        console.error("expected:", expected);
        process.exitCode = 1;
    }
});
exports.start();
