/* Prints the primes up to the number given. */
#include <stdio.h>
#include <stdlib.h>

static int is_prime(long n)
{
    if (n < 2)
        return 0;
    for (long d = 2; d * d <= n; d++)
        if (n % d == 0)
            return 0;
    return 1;
}

int main(int argc, char **argv)
{
    char *end;
    long limit;

    if (argc != 2 || (limit = strtol(argv[1], &end, 10)) < 0 || *end != '\0' || end == argv[1]) {
        fprintf(stderr, "usage: %s LIMIT\n", argv[0]);
        return 2;
    }
    for (long n = 2; n <= limit; n++)
        if (is_prime(n))
            printf("%ld\n", n);
    return 0;
}
