"""Resolver libraries as programs use them: a tiny program for each, built where it must be, and what it says.

Each takes a name and prints its addresses, one a line, and nothing for a name without any. They read /etc/resolv.conf,
so they run where that file is ours (see test_clients).
"""

import functools
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

_GETADDRINFO = """
#include <netdb.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **arguments)
{
    struct addrinfo hints, *found, *each;
    char text[64];
    int problem;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    problem = getaddrinfo(arguments[1], 0, &hints, &found);
    if (problem) { fprintf(stderr, "%s\\n", gai_strerror(problem)); return problem == EAI_NONAME ? 0 : 1; }
    for (each = found; each; each = each->ai_next)
        if (!getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST)) puts(text);
    return 0;
}
"""
_CARES = """
#include <ares.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <arpa/inet.h>
static int status = -1;
static void landed(void *argument, int result, int timeouts, struct ares_addrinfo *found)
{
    struct ares_addrinfo_node *each;
    char text[64];
    status = result;
    for (each = found ? found->nodes : 0; each; each = each->ai_next) {
        const void *address = each->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
        puts(inet_ntop(each->ai_family, address, text, sizeof text));
    }
}
int main(int count, char **arguments)
{
    ares_channel channel;
    struct ares_addrinfo_hints hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    ares_library_init(ARES_LIB_INIT_ALL);
    if (ares_init(&channel)) return 2;
    ares_getaddrinfo(channel, arguments[1], 0, &hints, landed, 0);
    while (status < 0) {
        fd_set reading, writing;
        struct timeval patience = {5, 0};
        int highest;
        FD_ZERO(&reading); FD_ZERO(&writing);
        highest = ares_fds(channel, &reading, &writing);
        if (!highest) break;
        select(highest, &reading, &writing, 0, &patience);
        ares_process(channel, &reading, &writing);
    }
    fprintf(stderr, "%s\\n", ares_strerror(status));
    return status == ARES_SUCCESS || status == ARES_ENOTFOUND ? 0 : 1;
}
"""
_GO = """
package main

import ("context"; "errors"; "fmt"; "net"; "os")

func main() {
	resolver := &net.Resolver{PreferGo: true}
	found, err := resolver.LookupHost(context.Background(), os.Args[1])
	var problem *net.DNSError
	if err != nil && !(errors.As(err, &problem) && problem.IsNotFound) { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
	for _, each := range found { fmt.Println(each) }
}
"""
_JAVA = """
import java.net.*;
public class Lookup {
    public static void main(String[] arguments) throws Exception {
        try {
            for (InetAddress each : InetAddress.getAllByName(arguments[0])) System.out.println(each.getHostAddress());
        } catch (UnknownHostException error) { System.err.println(error); }
    }
}
"""
_NODE_LOOKUP = """
require("dns").lookup(process.argv[1], {all: true}, (error, found) => {
    if (error && error.code !== "ENOTFOUND") throw error
    for (const each of found || []) console.log(each.address)
})
"""
_NODE_RESOLVE = """
const dns = require("dns").promises
const none = error => { if (!["ENOTFOUND", "ENODATA"].includes(error.code)) throw error; return [] }
Promise.all([dns.resolve4(process.argv[1]).catch(none), dns.resolve6(process.argv[1]).catch(none)])
    .then(found => found.flat().forEach(each => console.log(each)))
"""


@dataclass(frozen=True)
class Library:
    """One resolver library, and what it needs to be there."""

    name: str
    needs: dict[str, str]  # program or file -> Debian package
    build: Callable[[Path], list[str]]  # in a folder, once; the command, to which the name is added

    def absent(self) -> str:
        """What lacks, in a line for a person; "" if nothing does."""
        missing = [
            f"{thing} (Debian's {package})"
            for thing, package in self.needs.items()
            if not (Path(thing).exists() if "/" in thing else shutil.which(thing))
        ]
        return f"{self.name} needs {', '.join(missing)}" if missing else ""


def ask_library(command: list[str], name: str, prefix: tuple[str, ...]) -> set[str]:
    """The addresses that the program prints; it must end well."""
    done = subprocess.run([*prefix, *command, name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command} {name}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return {str(ip_address(line)) for line in done.stdout.split()}  # Java writes IPv6 addresses out


def _compiled(name: str, source: str, compiler: tuple[str, ...], more: tuple[str, ...], folder: Path) -> list[str]:
    file = folder / f"{name}.c"
    file.write_text(source)
    subprocess.run([*compiler, "-O0", "-o", folder / name, file, *more], check=True, timeout=60)
    return [str(folder / name)]


def _go(folder: Path) -> list[str]:
    (folder / "lookup.go").write_text(_GO)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GO111MODULE": "off",  # the standard library alone: nothing is fetched
        "CGO_ENABLED": "0",
    }
    command = ["go", "build", "-o", "lookup-go", "lookup.go"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    return [str(folder / "lookup-go")]


def _java(folder: Path) -> list[str]:
    (folder / "Lookup.java").write_text(_JAVA)
    subprocess.run(["javac", "Lookup.java"], cwd=folder, check=True, timeout=60)
    return ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(folder), "Lookup"]


def _node(script: str, _: Path) -> list[str]:
    return ["node", "-e", script]


_C = {"gcc": "gcc"}
_JDK = {"java": "openjdk-17-jre-headless", "javac": "openjdk-17-jdk-headless"}
LIBRARIES = (
    Library("glibc", _C, functools.partial(_compiled, "glibc", _GETADDRINFO, ("gcc",), ())),
    Library(
        "musl",
        {"musl-gcc": "musl-tools", **_C},
        functools.partial(_compiled, "musl", _GETADDRINFO, ("musl-gcc", "-static"), ()),
    ),
    Library(
        "c-ares",
        {"/usr/include/ares.h": "libc-ares-dev", **_C},
        functools.partial(_compiled, "cares", _CARES, ("gcc",), ("-lcares",)),
    ),
    Library("node-lookup", {"node": "nodejs"}, functools.partial(_node, _NODE_LOOKUP)),
    Library("node-resolve", {"node": "nodejs"}, functools.partial(_node, _NODE_RESOLVE)),
    Library("java", _JDK, _java),
    Library("go", {"go": "golang-go"}, _go),
)
