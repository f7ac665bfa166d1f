# summary: the keys of a Perl hash without sorting
# cause: order
# variation: random|environment|locale
# needs: perl
mkdir -p /out/usr/share
perl -e 'my %h = map { $_ => 1 } qw(alpha beta gamma delta epsilon zeta eta theta); print join(",", keys %h), "\n"' > /out/usr/share/keys
