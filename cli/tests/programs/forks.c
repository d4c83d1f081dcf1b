// A web server that forks for each connection and leaves its children to the kernel.
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ANSWER[] = "HTTP/1.0 200 OK\r\n\r\nforked";

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    // Children that nobody waits for count as processes until their parent ends.
    signal(SIGCHLD, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return 1;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        if (fork() == 0) {
            char request[4096];
            size_t length = 0;
            while (length < sizeof request - 1) {
                ssize_t more = read(connection, request + length, sizeof request - 1 - length);
                // On the machine's network stack gVisor says this of a socket that blocks, now and then.
                if (more < 0 && errno == EAGAIN) continue;
                if (more <= 0) break;
                length += more;
                request[length] = 0;
                if (strstr(request, "\r\n\r\n")) break;
            }
            if (write(connection, ANSWER, sizeof ANSWER - 1) < 0) _exit(1);
            _exit(0);
        }
        close(connection);
    }
}
