"""Templates for every supported construct, and for much that must fail. make_cases.py renders them with jinja2."""

CONTEXT = {
    "a": 1, "b": 2.5, "s": "Hello, World", "u": "Größe ΑΣ ﬁ ß İ 日本語 🙂", "empty": "", "none": None, "yes": True, "no": False,
    "list": [3, 1, 2], "words": ["b", "A", "c", "a", "B"], "nested": [[1, 2], [3, [4, 5]]], "nothing": [],
    "d": {"b": 1, "a": {"x": [1, 2]}, "items": "key", "é": None, "n": 1.0}, "big": 123456789012345678901234567890, "html": "<a href='x'>\"&\"</a>",
    "users": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []}, {"name": "Cid", "age": 30}],
    "lines": "one\n  two\n\nthree\n", "blank": " \t\n x y  z \r\n", "code": "print(\"hi\")\n\tx = 'y\\n'\u2028\u007f\u0001",
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
                 {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image"}]}],
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4
(1 + 2) * 3
7 / 2
-7 // 2
7 // -2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
7.5 % -2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
0.1 + 0.2
1e300 * 1e10
1.0 * 3
1 / 3
10 // 0
1 % 0
1.0 / 0
1_000_000 + 1
0x1F + 0b11 + 0o17
1.5e3
1e-7
123456789.123456789
1e16
1e15
12345678901234567.0
1e22
5e-324
1.7976931348623157e308
100.0
-0.0
9007199254740993
"a" "b" 'c'
"tab\t nl\n q\" s\' b\\ x\x41 u\u00e9 o\101 d\d U\U0001F642"
'é\é'
'a' + 'b' * 3
[1, 2] + [3]
[0] * 3
(1, 2) + (3,)
(1,)
()
[]
{}
{'a': 1, "b": [1, 2.0, none, true], 3: (1, 'x')}
{'a': 1}['a']
{1: 'int'}[1.0]
{true: 'x'}[1]
s ~ 1 ~ none ~ true ~ 2.0 ~ [1] ~ missing
1 < 2 < 3
1 < 2 > 3
3 > 2 >= 2 == 2
1 == 1.0
true == 1
'a' < 'b'
'a' < 1
[1, 2] < [1, 3]
[1] == (1,)
none == false
1 in [1, 2]
4 not in list
'ell' in s
'b' in d
1 in 'abc'
1 in 5
'x' in missing
none is none
not true
not missing
yes and no
yes or boom
0 or 'x'
'' and boom
1 if yes else 2
1 if no else 2
1 if no
(1 if no) is defined
'a' if no else 'b' if no else 'c'
missing
missing.x
missing[0]
missing + 1
d.missing
d.missing.x
d['missing']
d.b
d['b']
d['items']
d.items()
d.keys() | list
d.values() | list
d.get('b')
d.get('zz')
d.get('zz', 5)
d.a.x[1]
d.a['x'][-1]
d.copy().b
d.update({'q': 1})
d.pop('b')
d.pop
d.pop is defined
list.append(4)
list.append
list.pop()
list.sort()
list.index(1)
list.index(9)
list.count(3)
list.copy()
list[0]
list[-1]
list[5]
list['a']
list[1.0]
list[true]
list.0
list[1:]
list[:-1]
list[::-1]
list[::2]
list[5:1]
list[::0]
s[0]
s[-1]
s[0:5]
s[::-1]
s[::2]
s[100]
s[-3:]
u[0:5]
u[2]
u[-1]
u[::-1]
u | length
nested[1][1][0]
messages[0].content
messages[1:] | length
(1, 2, 3)[1:]
range(5) | list
range(1, 10, 3) | list
range(5, 0, -2) | list
range(3)
range(1, 10, 2)
range(10)[3]
range(10)[2:5] | list
range(1000000000)
range(1, 2, 0)
range('a')
dict(a=1, b=2)
dict([('a', 1), ['b', 2]])
dict({'a': 1}, b=2)
namespace(a=1)
namespace(a=1).a
namespace(a=1).b
namespace({'a': 1}, b=2)['b']
cycler('a', 'b').next()
raise_exception('no ' ~ s)
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S %A %j')
strftime_now('')
bos_token
eos_token ~ bos_token
true is true
1 is true
1 is boolean
true is boolean
1 is integer
true is integer
1.0 is float
1 is number
'1' is number
true is number
big is integer
s is string
none is string
d is mapping
list is mapping
list is sequence
s is sequence
d is sequence
1 is sequence
d.items() is sequence
range(3) is sequence
list is iterable
1 is iterable
missing is iterable
missing is sequence
missing is undefined
missing is defined
s is defined
d.b is defined
d.zz is defined
none is none
none is defined
3 is odd
3 is even
4 is divisibleby 2
4 is divisibleby(3)
4 is not divisibleby 3
'abc' is lower
'ABC' is upper
'Abc' is lower
'1' is lower
1 is eq 1
1 is equalto 2
1 is == 1
1 is lt 2
2 is gt(1)
2 is ge 2
2 is le 1
1 is ne 2
1 is lessthan 2
3 is greaterthan 2
1 is in [1, 2]
'x' is not in 'abc'
1 is sameas 1
true is sameas true
false is false
range is callable
s.upper is callable
s is callable
'upper' is filter
'nofilter' is filter
'odd' is test
html is escaped
(html | e) is escaped
none is not none
not none is none
s.upper()
s.lower()
u.upper()
u.lower()
u.title()
u.swapcase()
u.casefold()
u.capitalize()
'hello wORLD it\'s 3rd'.title()
'ﬁne'.capitalize()
'ΑΣ ΑΣ. Σ'.lower()
blank.strip()
blank.lstrip()
blank.rstrip()
'xxaxx'.strip('x')
'xyaxy'.strip('yx')
'xyaxy'.lstrip('xy')
'xyaxy'.rstrip('xy')
'x'.strip(none)
'x'.strip(1)
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
'a,b,,c'.split(sep=',', maxsplit=2)
blank.split()
blank.split(none, 1)
blank.rsplit(none, 1)
' a  b  c '.rsplit(maxsplit=1)
''.split()
''.split(',')
'a'.split('')
'</think>a</think>b'.split('</think>')[-1]
lines.splitlines()
lines.splitlines(true)
'a\r\nb\rc\x0bd\u2028e'.splitlines()
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('W', 7)
s.startswith(1)
s.endswith('ld')
s.endswith(('x', 'ld'))
s.replace('l', 'L')
s.replace('l', 'L', 1)
s.replace('', '-')
s.replace('', '-', 3)
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
s.index('W')
s.index('zz')
s.rindex('l')
s.count('l')
s.count('')
u.find('日')
u.count('ß')
'-'.join(words)
'-'.join([1])
'-'.join('abc')
'-'.join(d)
'{} and {}'.format(1, 'x')
'{0} {1} {0}'.format('a', 'b')
'{x} {y!r}'.format(x=1, y='q')
'{:>8}|{:<8}|{:^8}|{:*^9}'.format('a', 'b', 'c', 'd')
'{:05d} {:+d} {:,} {:x} {:X} {:#x} {:b}'.format(42, 42, 1234567, 255, 255, 255, 5)
'{:.2f} {:8.3f} {:e} {:%} {:g}'.format(3.14159, 2.5, 12345.678, 0.25, 0.0001)
'{{}} {}'.format(1)
'{'.format(1)
'{}'.format()
'{0[name]} {0[tags][0]}'.format(users[0])
'abc'.removeprefix('a')
'abc'.removesuffix('bc')
'abc'.removeprefix('x')
'a1'.isalnum()
'abc'.isalpha()
'12'.isdigit()
'²'.isdigit()
'²'.isdecimal()
'½'.isnumeric()
'½'.isalnum()
' \t'.isspace()
''.isspace()
'AB'.isupper()
'ab'.islower()
'ª'.islower()
'abc'.isascii()
'-42'.zfill(6)
'a'.ljust(4) ~ '|'
'a'.rjust(4, '.')
'ab'.center(7, '*')
'ab'.center(6, '*')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('x')
'abc'.nope()
'abc'.nope
'%s is %d years' % ('Ann', 30)
'%s' % 'x'
'%s' % [1, 2]
'%r %s' % ('a', 'b')
'%5.2f|%-5s|%5s|%05d|%x|%+d|%%' % (3.14159, 'a', 'b', 42, 255, 7)
'%(a)s-%(b)d' % {'a': 1, 'b': 2}
'%d' % 'x'
'%s %s' % 'x'
'%s' % ('x', 'y')
'%c%c' % (65, 'B')
'%e %g' % (12345.678, 0.00001)
'%.3s|' % 'abcdef'
'%*d' % (5, 42)
(-5) | abs
-5 | abs
2.5 | abs
s | abs
users[0] | attr('name')
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, 'x') | list
'hELLO wORLD' | capitalize
'ab' | center(6) ~ '|'
s | count
missing | default('x')
none | default('x')
none | default('x', true)
'' | d('x', boolean=true)
missing | default
d | dictsort
{'B': 2, 'a': 1, 'C': 0} | dictsort
{'B': 2, 'a': 1, 'C': 0} | dictsort(true)
{'B': 2, 'a': 1, 'C': 0} | dictsort(by='value')
{'B': 2, 'a': 1, 'C': 0} | dictsort(reverse=true)
html | escape
html | e | e
html | e | forceescape
html | safe
('<b>' | safe) + '<i>'
'<i>' + ('<b>' | safe)
list | first
nothing | first
nothing | first is defined
list | last
s | last
nothing | last
'3.7' | float
'x' | float
'x' | float(1.5)
5 | float
'1e5' | float
' 1_0.5 ' | float
'inf' | float
'nan' | float
'%s-%s' | format('a', 'b')
'%(x)s' | format(x=1)
users | groupby('age') | list
users | groupby('age') | map(attribute='grouper') | list
users | groupby('age') | map(attribute=0) | list
users | groupby('zip', default='none') | list
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent(2, true, true)
lines | indent('> ', blank=true)
lines | indent(width=1, first=true)
'42' | int
'42.9' | int
'x' | int
'x' | int(7)
'ff' | int(base=16)
'0xff' | int(0, 16)
'0b101' | int(0, 2)
3.99 | int
-3.99 | int
none | int
true | int
missing | int
' 42 ' | int
'1_000' | int
d | items | list
missing | items | list
list | items | list
words | join(', ')
words | join
[1, none, true, 2.5] | join('-')
users | join(', ', attribute='name')
missing | join
s | join('.')
d | length
missing | length
5 | length
'abc' | list
d | list
5 | list
missing | list
s | lower
users | map(attribute='name') | list
users | map(attribute='tags') | list
users | map(attribute='tags.0', default='none') | list
users | map(attribute='zip', default='?') | join
words | map('upper') | list
words | map('replace', 'a', 'x') | list
words | map('upper') | first
words | map('upper') | last
words | map('upper') | length
list | map('string') | join('+')
words | map('nofilter') | list
list | max
list | min
words | max
words | min(case_sensitive=true)
users | max(attribute='age')
nothing | max
[1, 'a'] | max
list | reject('odd') | list
list | reject | list
users | rejectattr('tags') | map(attribute='name') | list
users | rejectattr('age', 'eq', 30) | map(attribute='name') | list
s | replace('o', '0')
s | replace('o', '0', 1)
5 | replace(5, 6)
list | reverse | list
s | reverse
list | reverse | first
(1, 2) | reverse | list
42.55 | round
42.55 | round(1)
42.55 | round(1, 'floor')
42.45 | round(1, 'ceil')
42 | round
2.5 | round
3.5 | round
-2.5 | round
1234 | round(-2)
0.125 | round(2)
2.675 | round(2)
42 | round(1, 'ceil')
's' | round
list | select('odd') | list
list | select('gt', 1) | list
[0, 1, '', 'x', none] | select | list
list | select('in', [1, 2]) | list
users | selectattr('tags') | map(attribute='name') | list
users | selectattr('age', 'equalto', 30) | map(attribute='name') | list
users | selectattr('tags', 'defined') | list | length
messages | selectattr('role', 'equalto', 'user') | list | length
messages | selectattr('role', '==', 'user') | first
messages | rejectattr('role', 'equalto', 'system') | list | first
list | select('notest') | list
[1, 2, 3, 4, 5] | slice(2) | list
[1, 2, 3, 4, 5] | slice(3, 'x') | list
list | sort
list | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
users | sort(attribute='age') | map(attribute='name') | list
users | sort(attribute='age,name') | map(attribute='name') | list
users | sort(attribute='age', reverse=true) | map(attribute='name') | list
[1, 'a'] | sort
d | sort
5 | string
[1] | string
list | sum
users | sum(attribute='age')
list | sum(start=10)
[[1], [2]] | sum(start=[])
words | sum
'hello wORLD-foo (bar) [baz] {qux} <a>' | title
u | title
d | tojson
big | tojson
list | tojson
d | tojson(indent=2)
nested | tojson(indent=1)
d | tojson(indent='\t')
d | tojson(separators=(',', ':'))
d | tojson(sort_keys=true)
u | tojson
u | tojson(ensure_ascii=true)
code | tojson
code | tojson(true)
[1.0, 1e16, 1e-7, 0.1, -0.0, 1e22] | tojson
{1: 'a', none: 'b', true: 'c', 2.5: 'd'} | tojson
[[], {}, [[]], ''] | tojson
[[], {}, [[]], ''] | tojson(indent=4)
(1, 2) | tojson
missing | tojson
d.items() | tojson
range(3) | tojson
none | tojson
true | tojson
blank | trim
'xxaxx' | trim('x')
5 | trim
missing | trim
none | trim
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(11, false, '...', 0)
'foo bar baz qux' | truncate(5, end='!')
'foo bar baz qux' | truncate(1)
words | unique | list
words | unique(case_sensitive=true) | list
users | unique(attribute='age') | map(attribute='name') | list
s | upper
'a b/c?d=é&ü~' | urlencode
{'a b': 1, 'c/d': 'é'} | urlencode
[('a', 1)] | urlencode
u | wordcount
'two words_here, don\'t' | wordcount
none
true
[none, true, 1.0, 'a', "it's", 'q"', "b'\"", 'n\n\t\\', '\x01\x7fé\u200b']
{'a': {'b': [1, {'c': ()}]}}
s | upper | lower | title
s | replace('a', 'b') | length + 1
-1 | abs
- 1 | string
list | length > 2 and s is string
not 1 in [1]
not (1 in [1])
1 not in [1] or 2 in [2]
a if a else b
[a, b, s][0]
{'x': a}.x
(a, b)
(a)
[1, 2, 3,]
{'a': 1,}
'a' 'b' ~ 'c' 'd'
1.0 == 1 and 1 is not sameas 1.0
users[0].name[0]
users[0]['name'].upper()[1:]
users[-1].tags is defined
s.__class__
s.__class__.__mro__
list | map(attribute='__class__') | list
(d | items | list)[0][0]
d.items() | list | first
[1, 2] in [[1, 2]]
{'a': 1} == {'a': 1.0}
missing == missing
missing == none
missing < 1
-missing
+missing
+'a'
missing()
s()
(1).x
1.5.x
1 + 'a'
'a' * -1
'a' * 2.0
[1] * 'a'
none + 1
9223372036854775807
""" + "\n".join(["messages[0]['content'] | trim", "messages | map(attribute='role') | unique | list",
                 "messages | length - 1", "(messages | last).content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join",
                 "[messages[0]] + messages[1:] | length"])

STATEMENTS = [
    # white space
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\n  {% if yes %}  \n  b\n  {% endif %}\nc", "a {%- if yes -%} b {%- endif -%} c", "  {%+ if yes %}x{% endif +%}\n y",
    "{{- s -}}  x", "x  {{- s }}", "x\n {{ s }}\n y", "{# c #}\nx", "x {#- c -#} y", "  {# c #}\n  y", "{#+ c +#}\ny", "a\n\n", "a\r\nb\rc\n", "\n\n", "", "\n", "x{# multi\nline #}y",
    "{% raw %}{{ x }} {% if %}{% endraw %}", "a {%- raw -%} {{ x }} {%- endraw -%} b", "  {% raw %}\n  x\n  {% endraw %}\n y", "{% raw %}\n{% endraw %}\nx",
    "{% if yes -%}\n\n  x\n{%- endif %}\ny", "{%- if yes %}\n\tx\n\t{%- else %}\n\ty\n{% endif -%}   \nz", "\t{% set x = 1 %}\t\n{{ x }}", " {{ 1 }}{% if yes %} {% endif %}\n",
    "{{ '}}' }}", "{{ {'a': {'b': 1}}.a }}", "{{ '%}' }}{% if '{%' %}x{% endif %}", "{ { x } }", "{", "{ %", "a{%if yes%}b{%endif%}c", "{{-1}} {{- 1 -}} {{+1}}", "{{ 1 }}\n{{ 2 }}\n",
    "x\u00a0{%- if yes %} y{% endif %}", "x\u2003\n\u2003{% if yes %}y{% endif %}",
    # if
    "{% if a == 1 %}1{% elif a == 2 %}2{% else %}3{% endif %}", "{% if no %}1{% elif yes %}2{% else %}3{% endif %}", "{% if no %}1{% elif no %}2{% else %}3{% endif %}", "{% if missing %}x{% endif %}y",
    "{% if a, b %}tuple{% endif %}", "{% if not missing is defined and s %}x{% endif %}",
    # for
    "{% for x in list %}{{ x }},{% endfor %}", "{% for x in nothing %}{{ x }}{% else %}none{% endfor %}", "{% for x in list %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in list if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}{{ loop.last }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}",
    "{% for c in u %}{{ c }}|{% endfor %}", "{% for x in missing %}x{% else %}e{% endfor %}", "{% for x in none %}x{% endfor %}", "{% for x in 5 %}x{% endfor %}",
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in list %}[{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}]{% endfor %}", "{% for x in list %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in list %}{{ loop.cycle('odd', 'even') }} {% endfor %}", "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}", "{% for x in list %}{{ loop.changed() }}{% endfor %}",
    "{% for x in list %}{{ loop }}{% endfor %}", "{% for x in list %}{{ loop['index'] }}{{ loop.nope is defined }}{% endfor %}", "{% for x in list %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in range(10) %}{% if x == 3 %}{% continue %}{% endif %}{% if x == 6 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in list %}{% break %}{% else %}e{% endfor %}",
    "{% for x in list %}{% continue %}{% else %}e{% endfor %}", "{% for x in list %}{% if x == 2 %}{% break %}{% endif %}{% else %}e{% endfor %}", "{% break %}", "{% for x in list %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}", "{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for x in nested recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}@{{ loop.depth }}{% endif %}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in list %}{{ loop(x) }}{% endfor %}", "{% for m in messages %}{{ loop.index0 }}{{ m.role }}{% for y in list %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in list %}{% for y in list %}{{ loop.depth }}{% endfor %}{{ loop.depth }}{% endfor %}", "{% for x in words | map('upper') %}{{ x }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% for x in list %}{% set loop = 1 %}{% endfor %}", "{% for loop in list %}{% endfor %}", "{% for x in list %}{{ loop.length }}{% set y = loop.revindex %}{{ y }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in list if x is odd recursive %}{{ x }}{% endfor %}", "{% for i in range(3) %}{% for j in range(i) %}{{ i }}{{ j }} {% else %}none {% endfor %}{% endfor %}",
    "{% for x in list if loop is defined %}{{ x }}{% endfor %}", "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}", "{% for x in list %}{{ x }}{% endfor %}{{ x is defined }}",
    "{% set ns = namespace(f=false) %}{% for x in list if not ns.f %}{{ x }}{% set ns.f = true %}{% endfor %}", "{% set ns = namespace(f=false) %}{% for x in list if not ns.f %}{{ x }}{{ loop.last }}{% set ns.f = true %}{% endfor %}",
    # set and scopes
    "{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}", "{% set x, y = 1, 2 %}{{ x }}{{ y }}", "{% set x, y = [1] %}", "{% set (x, y) = (1, 2) %}{{ x + y }}", "{% set x = 1, 2 %}{{ x }}",
    "{% set x = 1 %}{% for i in list %}{{ x }}{% set x = x + 1 %}{{ x }} {% endfor %}{{ x }}", "{% for i in list %}{{ y is defined }}{% set y = i %}{{ y }} {% endfor %}{{ y is defined }}",
    "{% if yes %}{% set x = 1 %}{% endif %}{{ x }}", "{% if no %}{% set x = 1 %}{% endif %}{{ x is defined }}", "{% if no %}{% set s = 1 %}{% endif %}{{ s }}", "{% if no %}{% set s = 1 %}{% else %}{% set t = s %}{% endif %}{{ s }}{{ t }}",
    "{% for i in list %}{% if i == 1 %}{% set s = 'in' %}{% endif %}{{ s }} {% endfor %}{{ s }}", "{% for i in list %}{{ s }}{% endfor %}{% set s = 'later' %}{{ s }}", "{{ s }}{% set s = 'later' %}{{ s }}",
    "{% for i in list %}{{ s }}{% set s = i %}{{ s }} {% endfor %}{{ s }}", "{% set x = s %}{% set s = 'n' %}{{ x }}{{ s }}", "{% for i in list %}{% for j in list %}{% set x = j %}{% endfor %}{{ x is defined }}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for i in list %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = ns.a + 1 %}{{ ns.b }}{{ ns.c is defined }}{{ ns }}",
    "{% set d.x = 1 %}", "{% set q.x = 1 %}", "{% set ns = namespace(a=1) %}{% set ns.a, x = 2, 3 %}{{ ns.a }}{{ x }}", "{% set x %}a{{ s }}b{% endset %}{{ x }}", "{% set x | upper | replace('A', '-') %}a{{ s }}b{% endset %}{{ x }}",
    "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}", "{% set s %}<{{ s }}>{% endset %}{{ s }}", "{% set true = 1 %}", "{% set x.y.z = 1 %}", "{% set 1 = 2 %}", "{% set x = %}", "{% set f(x) = 1 %}",
    "{% set list = list + [4] %}{{ list }}", "{% set messages = messages[1:] %}{% for m in messages %}{{ m.role }}{% endfor %}", "{% set x = y = 1 %}",
    "{% if yes %}{% for i in list %}{% set z = i %}{% endfor %}{% set z = 'o' %}{% endif %}{{ z }}", "{% if a == 1 %}{% set r = 'x' %}{% elif a == 2 %}{% set r = 'y' %}{% else %}{% set r = 'z' %}{% endif %}{{ r }}",
    "{% for i in list %}{% if loop.first %}{% set v = 'f' %}{% elif loop.last %}{% set v = 'l' %}{% else %}{% set v = 'm' %}{% endif %}{{ v }}{% endfor %}",
    "{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x is defined }}", "{% set x = 5 %}{% with x = 1, y = x %}{{ x }}{{ y }}{% set x = 9 %}{{ x }}{% endwith %}{{ x }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% with a, b = (7, 8) %}{{ a }}{{ b }}{% endwith %}",
    # macros
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c='y') }} {{ m(b=5, a=6) }}", "{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(z=1) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}", "{% macro m(a, kwargs=1) %}{{ kwargs }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(4) }}", "{% macro m(a=b, b=3) %}{{ a }}{{ b }}{% endmacro %}{{ m() }}", "{% macro m(a, b) %}{% endmacro %}{{ m(a=1, a=2) }}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(x) %}[{{ caller() }}{{ x }}]{% endmacro %}{% call m(1) %}body{% endcall %}", "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}-{{ b }}{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}", "{% call s %}{% endcall %}", "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}", "{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}",
    "{% for i in list %}{% macro m() %}{{ i }}{{ loop.index }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}{{ s }}{% set s = 1 %}{{ s }}{% endmacro %}{{ m() }}{{ s }}", "{% macro m() %}{% set q = 1 %}{% endmacro %}{{ m() }}{{ q is defined }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "{% macro a() %}a{{ b() }}{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}",
    "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro m() %} x {% endmacro %}{{ m() | trim }}|{{ m() ~ 1 }}", "{% macro outer() %}{% macro inner(x) %}<{{ x }}>{% endmacro %}{{ inner(1) }}{{ inner(2) }}{% endmacro %}{{ outer() }}", "{% macro m() %}{% endmacro %}{{ m }}{{ m.name }}",
    "{% macro m(*a) %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'x': 2}) }}{{ m(*[1, 2]) }}", "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1], b=2) }}{{ m(1, **{'b': 3}) }}",
    "{% if yes %}{% macro m() %}1{% endmacro %}{% endif %}{{ m() }}", "{% macro m() %}{{ messages[0].role }}{% endmacro %}{{ m() }}",
    "{% macro m(caller=none) %}{{ caller }}{% endmacro %}{{ m() }}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}", "{% macro m(x) %}{{ x }}{{ caller(x) }}{% endmacro %}{% for i in list %}{% call(v) m(i) %}({{ v }}{{ i }}{{ loop.index }}){% endcall %}{% endfor %}",
    # filter blocks, generation
    "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% filter trim %}  x {% set z = 1 %}{{ z }} {% endfilter %}{{ z is defined }}", "{% filter nope %}{% endfilter %}",
    "{% generation %}x{{ s }}{% set g = 1 %}{% endgeneration %}{{ g is defined }}", "{% for m in messages %}{% generation %}{{ m.role }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% generation %}a\n{% endgeneration %}\nb", "{% print s %}",
    # objects
    "{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}", "{% set j = joiner('; ') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}", "{{ joiner()() }}", "{{ cycler() }}",
    "{% set g = list | select('odd') %}{{ g | list }}{{ g | list }}", "{% set g = words | map('upper') %}{% for x in g %}{{ x }}{% break %}{% endfor %}{{ g | join }}", "{% set f = s.upper %}{{ f() }}", "{% set r = range %}{{ r(2) | list }}", "{% set it = d.items() %}{{ it | length }}{{ it | list }}{{ it | list }}",
    "{% set u = missing %}{{ u is defined }}{{ u }}", "{% set u = d.zz %}{{ u is defined }}{{ u.x }}", "{% set x = [] %}{% set x = x + [1] %}{{ x }}", "{% set x = dict(d, q=1) %}{{ x.q }}{{ d.q is defined }}",
    "{{ x if x is defined else 'no' }}", "{{ raise_exception('stop') }}", "{% if no %}{{ raise_exception('stop') }}{% endif %}ok", "{{ raise_exception() }}",
    # constructs that must be refused
    "{{ s | nofilter }}", "{{ s is notest }}", "{{ nofunction() }}", "{% nosuch %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% do 1 %}",
    "{% if %}{% endif %}", "{% if yes %}", "{% endif %}", "{% for x list %}{% endfor %}", "{% for x in list %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{{ [1}} ]", "{{ 'a }}", "{{ x", "{% x", "{# x", "{% raw %}", "{{ a b }}", "{{ a.1b }}", "{{ a..b }}", "{{ ! }}", "{{ a ? b }}", "{{ a & b }}", "{{ $ }}", "{{ 1a }}",
    "{{ f(a=1, 2) }}", "{{ range(*[3], *[4]) }}", "{{ a is defined is defined }}", "{{ a.b.c() = 1 }}", "{% else %}", "{% if yes %}{% endfor %}", "{{ '\\x4' }}", "{{ '\\ud83d\\ude42' }}", "{{ 1 if }}", "{{ not }}", "{{ a, }}", "{{ (,) }}", "{{ {1} }}", "{{ {'a' 1} }}", "{{ a | }}", "{{ a[] }}", "{{ a[1 2] }}", "{{ {{ a }} }}",
]

# Constructs that jinja2 can render and this engine refuses when a model is packed.
REFUSED = [
    "{% block x %}{% endblock %}", "{% autoescape true %}{% endautoescape %}", "{{ lipsum() }}", "{{ '\\N{BULLET}' }}", "{{ s.encode() }}", "{{ s | pprint }}", "{{ list | random }}", "{{ s | wordwrap }}", "{{ s | striptags }}", "{{ d | xmlattr }}",
    "{{ 5 | filesizeformat }}", "{{ s | urlize }}", "{{ 9223372036854775808 }}", "{{ words | map('pprint') | list }}", "{{ d[1:2, 3] }}", "{{ undefined_function(1) }}",
]
