"""What the simulated users want to know about Python, and the fact that a right answer holds."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One thing to know: how it is asked, how it is asked again, and how a right answer is recognised."""

    text: str
    again: str
    """The same in other words."""
    fact: str
    """Regular expression, without regard to case."""

    def is_answered_by(self, answer: str) -> bool:
        """Whether the answer holds the fact; line breaks and the corpus' marks of emphasis don't matter."""
        return re.search(self.fact, " ".join(answer.replace("*", "").split()), re.IGNORECASE) is not None


QUESTIONS = (
    Question(
        "What code is generated for an assert statement when optimization is requested?",
        "Do assert statements still run with the -O option?",
        r"no code for an assert|__debug__.*false when optimization",
    ),
    Question(
        "Can a lambda expression contain statements or annotations?",
        "What is not allowed in functions created with lambda expressions?",
        r"cannot contain statements",
    ),
    Question(
        "What does the pass statement do when it is executed?",
        "Why would I use pass, a null operation?",
        r"nothing happens|placeholder",
    ),
    Question(
        "Does break skip the else clause of the loop?",
        "What happens to the optional else clause when break terminates a loop?",
        r"skipping the .*else|without executing the .*else",
    ),
    Question(
        "What does the continue statement do in a loop?",
        "How do I go on with a loop without executing the rest of its suite?",
        r"next cycle|next item",
    ),
    Question(
        "What does a return statement return without an expression list?",
        "Which value does return give if no expression list is present?",
        r"\bnone\b.*(substituted|return value)",
    ),
    Question(
        "Where can the await expression be used?",
        "Does await work outside a coroutine function?",
        r"only be used (inside|in the body of) a coroutine",
    ),
    Question(
        "What does deletion of a name with del remove?",
        "Does the del statement remove the binding of the name?",
        r"removes the binding",
    ),
    Question(
        "How often is the middle expression evaluated in chained comparisons?",
        "When comparisons are chained like x < y <= z, is y evaluated twice?",
        r"y is evaluated only once|each expression is evaluated at most once|evaluated only once",
    ),
    Question(
        "When is x is y true for object identity?",
        "What do the operators is and is not test?",
        r"same object|object.s identity",
    ),
    Question(
        "Does the power operator bind more tightly than unary operators?",
        "Is the power operator ** stronger than a unary minus on its left?",
        r"binds more tightly",
    ),
    Question(
        "How is a right shift by n bits defined?",
        "Which division is a right shift by n bits the same as?",
        r"floor division by",
    ),
    Question(
        "How long can an integer literal be?",
        "Is there a limit for the length of integer literals?",
        r"no limit for the length",
    ),
    Question(
        "What are underscores in numeric literals for?",
        "Do underscores change the numeric value of the literal?",
        r"underscores are ignored|group digits|underscores .*readability",
    ),
    Question(
        "Can a raw string literal end in a single backslash?",
        'Why is r"\\" not a valid string literal?',
        r"cannot end in (a single|an odd number of) backslash",
    ),
    Question(
        "Which characters may bytes literals contain?",
        "Are non-ASCII characters allowed in bytes literals?",
        r"only contain ascii characters",
    ),
    Question(
        "Are dictionaries ordered by insertion?",
        "Do dictionaries preserve the insertion order of keys?",
        r"preserve insertion order|in the order of insertion|same order they were added",
    ),
    Question(
        "In which order does popitem return the pairs of a dictionary?",
        "What does dict.popitem() remove?",
        r"\blifo\b|last.in, first.out",
    ),
    Question(
        "What does the get method of a dictionary return if the key is not in the dictionary?",
        "Does dict.get() ever raise a KeyError?",
        r"defaults to none|never raises a .?keyerror",
    ),
    Question(
        "Is the sort method of a list stable?",
        "Does list.sort() move elements that compare equal?",
        r"guaranteed to be stable|not to change the relative order|relative order of elements",
    ),
    Question(
        "What makes a tuple, the comma or the parentheses?",
        "Are parentheses required for a tuple?",
        r"comma which makes a tuple|actually the comma",
    ),
    Question(
        "What is the advantage of the range type over a regular list or tuple?",
        "How much memory does a range object take?",
        r"same \(?small\)? amount of memory",
    ),
    Question(
        "Does multiplying a sequence with s * n copy the items in it?",
        "Why do all the nested lists change after [[]] * 3?",
        r"not copied|referenced multiple times|same empty list|three elements of .* are references",
    ),
    Question(
        "What does str.find return if the substring is not found?",
        "Which number does find() give on failure for a string?",
        r"return .?-1",
    ),
    Question(
        "What does the casefold method of a string do beyond lowercasing?",
        "How do casefold and lowercasing a string differ?",
        r"more aggressive|caseless matching|remove all case distinctions",
    ),
    Question(
        "What does str.partition return if the separator is not found?",
        "How does partition split the string when there is no separator?",
        r"followed by two empty strings",
    ),
    Question(
        "When does str.join raise a TypeError?",
        "Can the join method of a string concatenate non-string values?",
        r"typeerror.? will be raised if there are any non-string",
    ),
    Question(
        "How does zfill handle a leading sign prefix?",
        "Where does zfill put the zeros in a string that has a sign?",
        r"after the sign character",
    ),
    Question(
        "What happens if a class defines __eq__ but not __hash__?",
        "Why is my class that overrides __eq__() unhashable?",
        r"__hash__(\(\))?.? (implicitly )?(set to|will be set to) .?none|hash.*set to .?none",
    ),
    Question(
        "May the __init__ method return a value?",
        "What happens when a non-None value is returned by __init__()?",
        r"no non-.?none.? value may be returned",
    ),
    Question(
        "Is __repr__ used when a class does not define __str__?",
        "Which method gives the informal string if only __repr__() is defined?",
        r"__repr__.{0,5} is also used|default implementation .*calls .*__repr__",
    ),
    Question(
        "When are instances considered true if a class defines neither __len__ nor __bool__?",
        "What is the truth value of instances without __bool__() and __len__()?",
        r"all its instances are considered true|considered true unless|considered true by default",
    ),
    Question(
        "When is __getattr__ called?",
        "Does every attribute access run __getattr__()?",
        r"default attribute access fails|not called if|not found through the normal",
    ),
    Question(
        "When is __getattribute__ called for attribute accesses of instances?",
        "Is __getattribute__() only a fallback for attribute accesses?",
        r"called unconditionally",
    ),
    Question(
        "What does __slots__ do for instances of a class?",
        "Why would a class declare __slots__?",
        r"reserves space|den(y|ying) the creation|prevents? the automatic creation",
    ),
    Question(
        "Does the statement del x directly call x.__del__()?",
        "When is __del__() called after del x?",
        r"doesn.t directly call|reference count (for .?x.? )?(by one|reaches zero)",
    ),
    Question(
        "What is __missing__ for in dict subclasses?",
        "Which method is called when a key is not in the dictionary of a dict subclass?",
        r"called by .?dict\.__getitem__|dict.* subclasses when key is not in",
    ),
    Question(
        "Which function constructs classes by default if no metaclass is given?",
        "How are classes constructed by default?",
        r"constructed using .?type\(\)|then .?type\(\).? is used",
    ),
    Question(
        "When is the method __init_subclass__ called?",
        "How can a base class customize the classes that inherit from it with __init_subclass__?",
        r"whenever the containing class is subclassed|when a class (is )?inherit",
    ),
    Question(
        "What does raise do with no expressions present?",
        "How do I re-raise the exception that is currently being handled?",
        r"re-raises the exception",
    ),
    Question(
        "What does the from clause of a raise statement do?",
        "What happens to the second exception in raise X from Y?",
        r"__cause__|exception chaining",
    ),
    Question(
        "What happens to a saved exception if the finally clause executes a return statement?",
        "Is the exception lost when finally executes return, break or continue?",
        r"saved exception is discarded",
    ),
    Question(
        "When is the else clause of a try statement executed?",
        "Does the optional else clause of try run if an exception was raised?",
        r"no exception was raised|leaves the .?try",
    ),
    Question(
        "What happens to the target of an except clause when the clause ends?",
        "Can I use the exception's name from as after the except clause?",
        r"cleared at the end|deleted at the end|del [en]\b",
    ),
    Question(
        "When are default parameter values of a function evaluated?",
        "Why does a mutable default parameter like a list keep its changes between calls?",
        r"when the function definition is executed|same .pre-computed. value|shared by all calls",
    ),
    Question(
        "When are decorator expressions evaluated?",
        "In which scope is a function's decorator expression evaluated and when?",
        r"when the function is defined|when the class is defined",
    ),
    Question(
        "What raises an UnboundLocalError?",
        "What is an UnboundLocalError about a local variable?",
        r"local variable.*not (yet )?(been )?bound|unboundlocalerror.{0,3} exception is raised",
    ),
    Question(
        "Which exception is raised when a name is not found at all?",
        "What does Python raise if a name can't be found in any scope?",
        r"nameerror",
    ),
    Question(
        "Which names does from module import * import without __all__?",
        "Are names that begin with an underscore part of the public names of a module?",
        r"(do|does) not begin with an underscore|except those beginning with an underscore",
    ),
    Question(
        "What does the interactive interpreter store in the name _?",
        "What does a single underscore hold after the last evaluation?",
        r"result of the last evaluation",
    ),
    Question(
        "How are private names that begin with two underscores transformed in a class definition?",
        "What is private name mangling?",
        r"class name.* inserted|leading underscores removed|transformed to a longer form|mangled form",
    ),
    Question(
        "Which values are considered false in truth value testing?",
        "What counts as false in the context of Boolean operations?",
        r"false.?,.? .?none|constants defined to be false|numeric zero of all types|zero of any numeric type",
    ),
    Question(
        "What does x and y return if x is false?",
        "Which value does the expression x and y give when x is false?",
        r"if .?x.? is false, its value is returned",
    ),
    Question(
        "Which attributes does a slice object have for the lower bound, upper bound and stride?",
        "What are the attributes of slice objects?",
        r"start.{0,10}stop.{0,10}step",
    ),
    Question(
        "Does an object's identity ever change after it has been created?",
        "What can I think of an object's identity as?",
        r"identity.? never changes|address in memory",
    ),
    Question(
        "Which scheme does CPython use for garbage collection?",
        "How does CPython find unreachable objects that can be collected?",
        r"reference.counting",
    ),
    Question(
        "Are names in the target list of a for loop deleted when the loop is finished?",
        "Does the loop variable of for still exist after the loop is finished?",
        r"not deleted when the loop",
    ),
    Question(
        "What does a with statement guarantee about __exit__?",
        "Is __exit__() always invoked if __enter__() returns without an error?",
        r"__exit__.{0,5} will always be (called|invoked)",
    ),
    Question(
        "What does the return value of __exit__ do with the exception?",
        "How does a context manager suppress an exception?",
        r"true value|return value from the .*__exit__.* was (false|true)|suppressed",
    ),
    Question(
        "May a match statement have several case blocks that always match?",
        "How many irrefutable case blocks may a match statement have?",
        r"at most one irrefutable|must be last",
    ),
    Question(
        "What does the percent presentation type do when a number is formatted?",
        "How is a number formatted as a percentage?",
        r"multiplies the number by 100",
    ),
    Question(
        "What does the comma option signal in a format specification?",
        "How do I format a number with a thousands separator?",
        r"(use of a comma|comma).{0,30}thousands separator",
    ),
    Question(
        "What does the debugger command next do?",
        "What is the difference between next and step in pdb?",
        r"next line in the current function|stops inside a called function",
    ),
    Question(
        "What does the debugger command where print?",
        "How do I see a stack trace in pdb?",
        r"print a stack trace",
    ),
    Question(
        "How does tbreak differ from break in the debugger?",
        "How do I set a breakpoint for one stop in pdb?",
        r"removed automatically when it is first hit|temporary breakpoint",
    ),
    Question(
        "What must a sequence on the right have when it is assigned to a target list without a star?",
        "How many items must an iterable have to be assigned to a target list?",
        r"same number of items",
    ),
    Question(
        "How often is the target evaluated in an augmented assignment like x += 1?",
        "What is the difference between x += 1 and x = x + 1?",
        r"only evaluated once|performed in.place",
    ),
    Question(
        "What do numeric methods and rich comparison methods return for operands they do not support?",
        "What should rich comparison methods return if they do not implement the operation?",
        r"notimplemented",
    ),
    Question(
        "Can nonlocal bind names in the global scope?",
        "Which scopes does the nonlocal statement refer to?",
        r"excluding globals|nearest enclosing (function )?scope|exclud.*global",
    ),
    Question(
        "Can I assign to a global variable without the global statement?",
        "Why is a global statement needed to assign to a global variable?",
        r"impossible to assign to a global variable",
    ),
)
