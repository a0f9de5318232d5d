// SPDX-License-Identifier: GPL-3.0-or-later
// Adds up with Boost.Interval for ever, which goes up and down all the time.
#include <boost/numeric/interval.hpp>

int main()
{
	using interval = boost::numeric::interval<double>;
	for (;;) {
		interval sum(0.0);
		for (int i = 1; i < 1000000; i++)
			sum += interval(1.0) / interval(double(i));
		if (sum.lower() > sum.upper())
			return 1;
	}
}
