"""Conversations as apply_chat_template gets them: from plain to strange."""

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather\nof a place", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Its name, e.g. \"São Paulo\""}, "days": {"type": "integer", "default": 3, "minimum": 1, "maximum": 1e3},
        "unit": {"type": "string", "enum": ["°C", "°F"]}, "where": {"type": ["number", "string"]}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "description": "", "parameters": {"type": "object", "properties": {
        "numbers": {"type": "array", "items": {"type": "number"}}, "options": {"type": "object", "additionalProperties": {"type": "boolean"}, "properties": {"exact": {"type": "boolean", "default": False}}}}, "required": []},
        "return": {"type": "number"}}},
    {"type": "function", "function": {"name": "noop"}},
]
CALL = {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich <\u2028> \"'&", "days": 2, "p": 0.5, "q": 1.0, "r": 1e20, "s": None, "t": [True, False], "u": {}}}}


def system(content="You are a helpful assistant."):
    return {"role": "system", "content": content}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def tool(content, **more):
    return {"role": "tool", "content": content, **more}


MESSAGES = [
    [user("Hi")], [system(), user("Hi")], [user("Hi"), assistant("Hello!"), user("How are you?")], [system(), user("Hi"), assistant("Hello!"), user("And now?")],
    [system(""), user("")], [user("  spaces around \n"), assistant("\n\n"), user("\t")], [user("Grüße, 世界! 🙂 e\u0301 \u200d \u00a0"), assistant("Ω ΑΣ ß"), user("'quotes' \"and\" \\back\\slashes {{ x }} {% y %}")],
    [user([{"type": "text", "text": "What is this?"}, {"type": "image"}])], [system([{"type": "text", "text": "Be kind."}]), user([{"type": "image"}, {"type": "text", "text": " a "}, {"type": "text", "text": "b"}])],
    [user("weather?"), assistant("", tool_calls=[CALL]), tool("{\"temp\": 21.5}", tool_call_id="call12345", name="get_weather"), assistant("21.5 degrees."), user("Thanks")],
    [system(), user("both"), assistant(None, tool_calls=[CALL, {"id": "call67890", "type": "function", "function": {"name": "add", "arguments": {"numbers": [1, 2.5, -0.0]}}}]), tool("rain"), tool({"sum": 3.5}), user("ok")],
    [user("x"), assistant("", tool_calls=[{"function": {"name": "noop", "arguments": {}}}]), {"role": "ipython", "content": {"output": "y"}}],
    [user("think"), assistant("<think>\nfirst this\nthen that\n</think>\n\nDone."), user("more")], [user("think"), assistant("<think>\n\n</think>\n\nNo thoughts.", reasoning_content="some")], [user("q"), assistant("a", reasoning_content="why\n")],
    [assistant("I begin"), user("?")], [user("a"), user("b")], [system()], [system(), system("again"), user("x")], [], [{"role": "developer", "content": "x"}], [{"role": "user"}], [{"content": "x"}],
    [user(f"question {i}") if i % 2 == 0 else assistant(f"answer {i}\n" * 3) for i in range(19)],
]


def all_conversations():
    for messages in MESSAGES:
        for more in ({"add_generation_prompt": True}, {"add_generation_prompt": False, "tools": TOOLS}, {"tools": TOOLS[:1], "add_generation_prompt": True, "enable_thinking": False},
                     {"tools": None, "documents": None, "tools_in_user_message": False, "date_string": "1 Jan 2025"}, {"tools": TOOLS[:2], "tools_in_user_message": False, "builtin_tools": ["code_interpreter", "search"]}):
            yield {"messages": messages, **more}
