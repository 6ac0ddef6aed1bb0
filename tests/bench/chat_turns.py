#!/usr/bin/env python3
"""How long the first text of each turn of a conversation takes to come.

    chat_turns.py PROGRAM [PROGRAM ...] --model MODEL [--times 3]

Each program holds the same conversation of five questions, greedily, 64 tokens an answer; programs take turns. Prints the median of the time from a question
to the first byte of its answer, turn by turn. The end of an answer is told by the line of counts on stderr.
"""
import argparse
import os
import statistics
import subprocess
import time

QUESTIONS = ["Describe a walk through a forest after heavy rain, with all that one hears.",
             "And how does it smell there? Tell me about the moss, the earth and the leaves.",
             "Which animals could somebody meet who sits down quietly and waits for an hour?",
             "Now the same forest in winter, under deep snow, in the light of the moon.",
             "Write a haiku about all that."]


def talk(program, model):
    chat = subprocess.Popen([program, "chat", "--model", model, "--temp", "0", "--max-tokens", "64"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, bufsize=0)
    took = []
    for question in QUESTIONS:
        began = time.perf_counter()
        chat.stdin.write(question.encode() + b"\n")
        os.read(chat.stdout.fileno(), 1)
        took.append(time.perf_counter() - began)
        while not chat.stderr.readline().startswith(b"["):
            pass
        os.set_blocking(chat.stdout.fileno(), False)
        try:
            while os.read(chat.stdout.fileno(), 65536):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(chat.stdout.fileno(), True)
    chat.stdin.close()
    chat.wait()
    return took


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program", nargs="+")
    p.add_argument("--model", required=True)
    p.add_argument("--times", type=int, default=3)
    a = p.parse_args()
    rounds = [[talk(program, a.model) for program in a.program] for _ in range(a.times)]
    for i, program in enumerate(a.program):
        turns = [statistics.median(r[i][t] for r in rounds) for t in range(len(QUESTIONS))]
        print(program, "first text of turns 1 to 5, ms:", "  ".join(f"{1e3 * s:.0f}" for s in turns))


main()
